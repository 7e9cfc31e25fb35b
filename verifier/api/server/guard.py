"""Who may send what to the ledger, until keys exist (D21): no web page, no form, no other host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set

from aiohttp import hdrs, web

from verifier.api.server.body import refuse_compressed
from verifier.api.server.route import Route
from verifier.config import PREFIX, Access
from verifier.errors import BadRequest

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


# The scopes that write to the ledger.
_GUARDED = ("ingest", "watermark")


class Guard:
    """Refuses what the ledger's routes do not take, before anything of it is read."""

    def __init__(self, access: Access) -> None:
        self._exposed = access.expose_ledger == "on"

    def check_of(self, route: Route) -> Callable[[web.Request], None] | None:
        """The check of a route's requests, which raises BadRequest; None when it has none."""
        media = route.media
        if route.scope not in _GUARDED or media is None:
            return None

        def check(request: web.Request) -> None:
            self._check(request, media)

        return check

    def _check(self, request: web.Request, media: Set[str]) -> None:
        if not self._exposed:
            raise BadRequest(
                "ledger_not_exposed", f"expected {PREFIX}EXPOSE_LEDGER=on on a host like this one"
            )
        if cross_site(request.headers):
            raise BadRequest("cross_site", "expected a request that no other site's page makes")
        refuse_compressed(request)
        if request.content_type not in media:
            given = request.headers.get(hdrs.CONTENT_TYPE, "none")
            raise BadRequest(
                "unsupported_media_type",
                f"Content-Type: expected {' or '.join(sorted(media))}, got {given}",
            )


def cross_site(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that a page of another site makes this request."""
    if headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        return True
    origin = headers.get(hdrs.ORIGIN)
    # The origin "null", of sandboxed pages and files, equals no host.
    return origin is not None and (
        origin.partition("://")[2].lower() != headers.get(hdrs.HOST, "").lower()
    )
