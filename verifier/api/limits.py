"""``GET /v1/limits``: what a caller may do, and what is left of its limits at this worker.

There is no such route where nobody needs a key.
"""

from __future__ import annotations

from math import inf

import msgspec
from aiohttp import web

from verifier.access.callers import Caller
from verifier.api.server.guard import caller_of
from verifier.api.server.respond import JSON
from verifier.api.server.route import Route
from verifier.api.server.shapes import LANGUAGE, Content, Operation
from verifier.wire import members, schemas


def route() -> Route:
    """The route of a caller's own limits; to ask for them costs nothing."""
    return Route("GET", "/v1/limits", "limits", limits, OPERATION, "verify")


async def limits(request: web.Request) -> web.Response:
    """What the caller's key is good for, and its limits."""
    caller = caller_of(request)
    assert caller is not None
    shown = msgspec.json.encode(_shown(caller))
    return web.Response(body=shown, headers={**JSON, **caller.fields()})


def _shown(caller: Caller) -> schemas.Limits:
    now = caller.now()
    return schemas.Limits(
        tenant=caller.tenant.name,
        key=caller.label,
        scopes=sorted(caller.scopes),
        expires_at=None if caller.until == inf else members.iso(caller.until),
        held_back=caller.is_tight,
        limits=[
            schemas.Limit(
                policy=name,
                rate=share.rate.units,
                burst=int(share.rate.burst),
                remaining=share.remaining(now),
                reset=round(share.reset(now), 3),
            )
            for name, share in caller.shares.items()
        ],
    )


OPERATION = Operation(
    "What the caller may ask, and what is left of it",
    {
        200: Content(schemas.Limits, "As this worker knows it; another one may have more left."),
    },
    parameters=(LANGUAGE,),
)
