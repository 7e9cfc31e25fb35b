"""Consistency tokens: how a caller that has fed the ledger makes sure to see what it wrote.

A token names a position in the primary's log. A question that carries one is answered from a
state that includes it, or not at all.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

from aiohttp import web
from multidict import istr

from verifier.errors import BadRequest
from verifier.invoice.record import Position

HEADER = istr("Consistency-Token")

_POSITION = re.compile(rb"1\.(\d{1,10})\.(\d{1,20})")


def issue(timeline: int, lsn: str) -> str:
    """The token for a position; ``lsn`` as PostgreSQL writes it, such as ``0/3000148``."""
    high, _, low = lsn.partition("/")
    position = f"1.{timeline}.{(int(high, 16) << 32) + int(low, 16)}"
    return urlsafe_b64encode(position.encode()).decode().rstrip("=")


def asked(request: web.BaseRequest) -> Position | None:
    """The position of the request's token, if it carries one; BadRequest when it is not ours."""
    token = request.headers.get(HEADER)
    if token is None:
        return None
    try:
        text = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except ValueError:
        text = b""
    found = _POSITION.fullmatch(text)
    if found is None:
        raise BadRequest("malformed_token", f"{HEADER}: expected a token that a ledger feed gave")
    return Position(int(found[1]), int(found[2]))
