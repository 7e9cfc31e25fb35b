"""Who may send what to the ledger, until keys exist (D21): no web page, no form, no other host."""

from __future__ import annotations

from collections.abc import Mapping, Set

from aiohttp import hdrs, web

from verifier.api.server import problems
from verifier.api.server.body import refuse_compressed
from verifier.api.server.timing import Handler
from verifier.config import PREFIX, Config
from verifier.errors import BadRequest
from verifier.metrics import Metrics

JSON_TYPES = frozenset({"application/json"})
# NDJSON is not registered; these are the names in use. A page can send none of them unasked.
NDJSON_TYPES = frozenset(
    {
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/json-lines",
    }
)


class Guard:
    """Refuses what the ledger's routes do not take, before anything of it is read."""

    def __init__(self, config: Config, metrics: Metrics) -> None:
        self._exposed = config.expose_ledger == "on"
        self._errors = metrics.http_errors

    def guarded(self, route: str, types: Set[str], handler: Handler) -> Handler:
        """The handler, for bodies of these media types only."""

        async def guarded_handler(request: web.Request) -> web.StreamResponse:
            try:
                self._check(request, types)
            except BadRequest as error:
                self._errors.add(route, error.code)
                return problems.of_error(request, error)
            return await handler(request)

        return guarded_handler

    def _check(self, request: web.Request, types: Set[str]) -> None:
        if not self._exposed:
            raise BadRequest(
                "ledger_not_exposed", f"expected {PREFIX}EXPOSE_LEDGER=on on a host like this one"
            )
        if cross_site(request.headers):
            raise BadRequest("cross_site", "expected a request that no other site's page makes")
        refuse_compressed(request)
        if request.content_type not in types:
            given = request.headers.get(hdrs.CONTENT_TYPE, "none")
            raise BadRequest(
                "unsupported_media_type",
                f"Content-Type: expected {' or '.join(sorted(types))}, got {given}",
            )


def cross_site(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that a page of another site makes this request."""
    if headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        return True
    origin = headers.get(hdrs.ORIGIN)
    # The origin "null", of sandboxed pages and files, is nobody's own.
    return origin is not None and (
        origin.partition("://")[2].lower() != headers.get(hdrs.HOST, "").lower()
    )
