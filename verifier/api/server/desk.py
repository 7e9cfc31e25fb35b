"""The front desk: a request whose head is known is answered where its bytes arrive.

Clients send the same head again and again. One that aiohttp's parser has accepted is kept with what
it means, once it has come twice; the same bytes at the beginning of a message mean the same again.
So a request that comes in one piece, behind such a head, on a connection that waits for one, costs
a look into a dictionary: no parsing, no task, no request object. Everything else takes aiohttp's
way, and nothing is parsed here, so there is no second parser that could read a request differently.

The order of checks, for who adds one: the head is known (a key would be checked where heads are
learnt, and forgotten with it); the body is whole; the client has read what it got; the question can
be read; only then it is counted and answered. A refusal of what there is no room for belongs before
the question is read.

What it relies on in aiohttp's RequestHandler (tests/api/test_desk.py holds each): a pending
``_waiter`` means that the connection waits for a request, with no message queued and no task under
way; the parser then holds no part of a message unless reading was paused or the protocol changed;
``_next_keepalive_close_time`` moves the keep-alive timer, ``_request_in_progress`` and
``_handler_waiter`` make a shutdown wait.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from aiohttp import HttpVersion11, hdrs
from aiohttp.http_parser import RawRequestMessage

from verifier.api.server.route import AtOnce, Route
from verifier.config import Connections
from verifier.engine.doorkeeper import Doorkeeper
from verifier.wire.messages import Language, language_of

_END = b"\r\n\r\n"

# A longer one is not kept: with the number of heads, it bounds their memory.
MAX_HEAD = 2_048

# Whose meaning is for the handler. Of the others only the language counts.
_SPECIAL = frozenset(
    map(
        str.lower,
        (hdrs.EXPECT, hdrs.CONTENT_ENCODING, hdrs.UPGRADE, "Consistency-Token", "Server-Timing"),
    )
)


class Head(NamedTuple):
    """What a head says: the length of its body (at least 1), a language, and who answers."""

    length: int
    language: Language
    at_once: AtOnce


class Desk:
    """The heads that are known; one per process."""

    def __init__(self, routes: Iterable[Route], bounds: Connections) -> None:
        self._at_once: dict[tuple[str, str], AtOnce] = {
            (route.method, route.path): route.at_once for route in routes if route.at_once
        }
        self._most = bounds.known_heads
        # The oldest first.
        self._heads: dict[bytes, Head] = {}
        self._came = Doorkeeper(max(1, self._most))

    def head_of(self, data: bytes) -> Head | None:
        """What the head says of a request that is here in one piece; None if that is not known."""
        end = data.find(_END) + 4
        head = self._heads.get(data[:end])
        return head if head is not None and head.length == len(data) - end else None

    def learn(self, data: bytes, message: RawRequestMessage) -> None:
        """Keep the head of a request in one piece that aiohttp's parser has read."""
        at_once = self._at_once.get((message.method, message.path))
        end = data.find(_END) + 4
        if at_once is None or not self._most or end > MAX_HEAD:
            return
        head, length = data[:end], len(data) - end
        if not _is_plain(message, length) or not self._came.again((head,)):
            return
        if len(self._heads) >= self._most:
            del self._heads[next(iter(self._heads))]
        self._heads[head] = Head(
            length, language_of(message.headers.get(hdrs.ACCEPT_LANGUAGE, "")), at_once
        )


def _is_plain(message: Any, length: int) -> bool:
    """Whether a head says nothing but that a body of this length follows, and a language."""
    return (
        message.version == HttpVersion11
        and not (message.should_close or message.upgrade or message.chunked)
        and message.compression is None
        and length > 0
        and message.headers.getall(hdrs.CONTENT_LENGTH, []) == [str(length)]
        and _SPECIAL.isdisjoint(map(str.lower, message.headers))
    )
