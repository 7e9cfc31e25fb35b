"""Consistency tokens: how a caller that has fed the ledger makes sure to see what it wrote.

A token names a position in the primary's log and is signed with a key that the workers of one
ledger share. A question that carries one is answered from a state that includes the position, or
not at all.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable

from verifier.errors import BadRequest
from verifier.state import Position

# The header that carries one.
HEADER = "Consistency-Token"

# Half of a SHA-256, as RFC 2104 allows.
_SIGNATURE_BYTES = 16
_POSITION = re.compile(rb"1\.(\d{1,10})\.(\d{1,20})")


class Tokens:
    """Issues and reads tokens. ``secret`` gives the key; Unavailable before it is known."""

    def __init__(self, secret: Callable[[], bytes]) -> None:
        self._secret = secret

    def issue(self, position: Position) -> str:
        """The token for a position. Raises Unavailable."""
        named = f"1.{position.timeline}.{position.lsn}".encode()
        return urlsafe_b64encode(self._sign(named) + named).decode().rstrip("=")

    def position(self, token: str | None) -> Position | None:
        """The position that a token names, if there is one.

        Raises BadRequest when it is not one of ours, and Unavailable.
        """
        if token is None:
            return None
        try:
            signed = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            signed = b""
        signature, position = signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]
        found = _POSITION.fullmatch(position)
        if found is None or not hmac.compare_digest(signature, self._sign(position)):
            raise BadRequest(
                "malformed_token", f"{HEADER}: expected a token that a feed of this ledger gave"
            )
        return Position(int(found[1]), int(found[2]))

    def _sign(self, position: bytes) -> bytes:
        return hmac.digest(self._secret(), position, "sha256")[:_SIGNATURE_BYTES]
