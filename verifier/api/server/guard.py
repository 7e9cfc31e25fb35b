"""Who may send what: the key that a request needs, and what the ledger's routes take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set

from aiohttp import hdrs, web
from multidict import CIMultiDictProxy, istr

from verifier.access.callers import Caller
from verifier.access.keyring import Keyring, unauthorized
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

API_KEY = istr("X-API-Key")
# The fields, in small letters, that may hold a key.
KEY_FIELDS = frozenset({hdrs.AUTHORIZATION.lower(), API_KEY.lower()})

# The scopes that write to the ledger.
_GUARDED = ("ingest", "watermark")

# Where a request has its caller for its handler.
_CALLER = web.RequestKey("caller", Caller)

_EXPECTED = "expected `Authorization: Bearer KEY` or `X-API-Key: KEY`"


class Guard:
    """Refuses who may not ask, and what the ledger's routes do not take, before a body is read.

    Without a ``keyring`` everybody may ask.
    """

    def __init__(self, access: Access, keyring: Keyring | None) -> None:
        self._exposed = access.expose_ledger == "on"
        self._keyring = keyring

    def check_of(self, route: Route) -> Callable[[web.Request], None] | None:
        """The check of a route's requests; None when it has none.

        It raises BadRequest, and Unavailable when nothing is known of a key.
        """
        scope, media, keyring = route.scope, route.media, self._keyring
        guarded = scope in _GUARDED and media is not None
        if scope is None or (keyring is None and not guarded):
            return None

        def check(request: web.Request) -> None:
            if keyring is not None:
                request[_CALLER] = keyring.admit(key_of(request.headers), scope)
            if guarded:
                assert media is not None
                self._check_feed(request, media)

        return check

    def caller_at_desk(self, headers: CIMultiDictProxy[str], route: Route) -> Caller | None:
        """Who asks at the front desk; None without keys. Raises as the check does."""
        if self._keyring is None or route.scope is None:
            return None
        return self._keyring.admit(key_of(headers), route.scope)

    def _check_feed(self, request: web.Request, media: Set[str]) -> None:
        if self._keyring is None and not self._exposed:
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


def caller_of(request: web.Request) -> Caller | None:
    """Who makes a request that was checked; None without keys."""
    return request.get(_CALLER)


def key_of(headers: CIMultiDictProxy[str]) -> str:
    """The key that a request brings. BadRequest when it brings none, or several."""
    given = headers.getall(hdrs.AUTHORIZATION, ())
    keys = {text.strip() for text in headers.getall(API_KEY, ())}
    for text in given:
        scheme, _, key = text.strip().partition(" ")
        if scheme.lower() != "bearer":
            raise unauthorized("no_key", f"Authorization: {_EXPECTED}, got another scheme")
        keys.add(key.strip())
    if not keys:
        raise unauthorized("no_key", _EXPECTED)
    if len(keys) > 1:
        raise unauthorized("no_key", f"{_EXPECTED}, got several keys")
    return keys.pop()


def cross_site(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that a page of another site makes this request."""
    if headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        return True
    origin = headers.get(hdrs.ORIGIN)
    # The origin "null", of sandboxed pages and files, equals no host.
    return origin is not None and (
        origin.partition("://")[2].lower() != headers.get(hdrs.HOST, "").lower()
    )
