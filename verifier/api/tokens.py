"""Consistency tokens: how a caller that has fed the ledger makes sure to see what it wrote.

A token names a position in the primary's log. A question that carries one is answered by the
primary itself, which is never behind any token; memory and replicas are passed over.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

from aiohttp import web
from multidict import istr

from verifier.errors import BadRequest

HEADER = istr("Consistency-Token")

_POSITION = re.compile(rb"1\.\d{1,10}\.[0-9A-F]{1,8}/[0-9A-F]{1,8}")


def issue(timeline: int, lsn: str) -> str:
    """The token for a position (a timeline and an LSN such as ``0/3000148``)."""
    return urlsafe_b64encode(f"1.{timeline}.{lsn}".encode()).decode().rstrip("=")


def wanted(request: web.BaseRequest) -> bool:
    """Whether the request carries a token; BadRequest when it carries something else."""
    token = request.headers.get(HEADER)
    if token is None:
        return False
    try:
        position = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except ValueError:
        position = b""
    if _POSITION.fullmatch(position) is None:
        raise BadRequest("malformed_token", f"{HEADER}: expected a token that a ledger feed gave")
    return True
