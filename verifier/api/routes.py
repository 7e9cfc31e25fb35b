"""Every route: where a request goes, and whose matter it is."""

from __future__ import annotations

from verifier.api import limits, openapi
from verifier.api.health import Health
from verifier.api.ingest import Ingest
from verifier.api.server.route import Route
from verifier.api.usage import OwnUsage
from verifier.api.verify.batch import Batches
from verifier.api.verify.bulk import Resources
from verifier.api.verify.single import Single
from verifier.api.verify.stream import Streams


def all_routes(
    resources: Resources,
    streams: Streams,
    ingest: Ingest,
    usage: OwnUsage | None,
    health: Health,
) -> list[Route]:
    """All of them; a new endpoint is a module and a line here.

    Who needs no key has no ``usage``, and no limits.
    """
    routes = [
        Single(resources).route(),
        Batches(resources).route(),
        streams.route(),
        *ingest.routes(),
        *(() if usage is None else (usage.route(), limits.route())),
        *health.routes(),
    ]
    return [*routes, openapi.route(routes, keyed=usage is not None)]
