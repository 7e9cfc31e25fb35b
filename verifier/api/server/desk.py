"""The front desk: a request that comes in one piece is answered where its bytes arrive.

On a connection that waits for one, and for a route that can (``Route.at_once``), it costs no task
and no request object. Clients mostly send the same head again: one that aiohttp's parser has
accepted twice is kept with what it means, since the same bytes at the beginning of a message mean
the same, and then costs a look into a dictionary. Other heads are read by aiohttp's parser. Nothing
is parsed here, so there is no second parser that could read a request differently. Everything else
takes aiohttp's way.

The order of checks, for who adds one: what the head means (a key would be checked there, and heads
forgotten with it); the body is whole; the client has read what it got; the question can be read;
only then it is counted and answered. Where a refusal for want of room belongs depends on what it
costs: a match from memory is answered at the same cost.

What it relies on in aiohttp's RequestHandler (tests/api/test_desk.py holds each): a pending
``_waiter`` means that the connection waits for a request, with no message queued and no task under
way; neither a waiter nor a ``_current_request``, that it mostly does a round later; of the parser,
``feed_data`` is all that ``data_received`` asks, and ``message_consumed`` frees a place;
``_next_keepalive_close_time`` moves the keep-alive timer, ``_request_in_progress`` and
``_handler_waiter`` make a shutdown wait. Whether the parser holds a part of the next message is for
the connection to know (``is_whole``): nothing in aiohttp tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from aiohttp import HttpVersion11, hdrs
from aiohttp.http_parser import RawRequestMessage

from verifier.api.server.rounds import Rounds
from verifier.api.server.route import AtOnce, Route
from verifier.config import Connections
from verifier.engine.doorkeeper import Doorkeeper
from verifier.wire.messages import Language, language_of

_END = b"\r\n\r\n"

# A longer one is not kept: with the number of heads, it bounds their memory.
MAX_HEAD = 2_048

# Fields that are aiohttp's, or the handler's, to deal with.
_SPECIAL = frozenset(map(str.lower, (hdrs.EXPECT, hdrs.CONTENT_ENCODING, hdrs.UPGRADE)))

# A head with a field of such a name may hold a secret, and is not kept.
_SECRET = re.compile("auth|cookie|key|pass|secret|session|sign|token")


class Head(NamedTuple):
    """What a head says: the length of its body (at least 1), a language, and who answers."""

    length: int
    language: Language
    at_once: AtOnce


class Desk:
    """The heads that are known; one per process. ``rounds`` are those of its event loop."""

    def __init__(self, routes: Iterable[Route], bounds: Connections, rounds: Rounds) -> None:
        self.rounds = rounds
        # Who answers, and the fields that are not for them, by method and path.
        self._routes: dict[tuple[str, str], tuple[AtOnce, frozenset[str]]] = {
            (route.method, route.path): (route.at_once, _SPECIAL | route.heeds)
            for route in routes
            if route.at_once
        }
        self._most = bounds.known_heads
        self.is_open = bool(self._most and self._routes)
        # The oldest first.
        self._heads: dict[bytes, Head] = {}
        self._came = Doorkeeper(max(1, self._most))

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._heads)

    def head_of(self, data: bytes) -> Head | None:
        """What the head says of a request that is here in one piece; None if that is not known."""
        end = data.find(_END) + 4
        head = self._heads.get(data[:end])
        return head if head is not None and head.length == len(data) - end else None

    def meaning_of(self, data: bytes, message: RawRequestMessage) -> Head | None:
        """What the head says of a request in one piece, once aiohttp's parser has read it.

        None when that is for the handler. It is kept when it comes again.
        """
        route = self._routes.get((message.method, message.path))
        end = data.find(_END) + 4
        length = len(data) - end
        if route is None or not _is_one_piece(message, length):
            return None
        at_once, special = route
        names = {name.lower() for name in message.headers}
        if not special.isdisjoint(names):
            return None
        meaning = Head(length, language_of(message.headers.get(hdrs.ACCEPT_LANGUAGE, "")), at_once)
        head = data[:end]
        if end <= MAX_HEAD and not _SECRET.search(" ".join(names)) and self._came.again((head,)):
            if len(self._heads) >= self._most:
                del self._heads[next(iter(self._heads))]
            self._heads[head] = meaning
        return meaning


def is_whole(data: bytes, message: Any) -> bool:
    """Whether bytes of which aiohttp's parser has made one message, body included, end with it.

    They may begin in the middle of its head: that ends where the first empty line does, unless they
    begin in the middle of this one. What is framed otherwise than by a length is never whole.
    """
    end = data.find(_END)
    length = message.headers.get(hdrs.CONTENT_LENGTH, "0")
    return (
        end >= 0
        and not data.startswith((b"\r", b"\n"))
        and not message.chunked
        and length == str(len(data) - end - 4)
    )


def _is_one_piece(message: Any, length: int) -> bool:
    """Whether a head says that a body of this length follows, and then the next request."""
    return (
        message.version == HttpVersion11
        and not (message.should_close or message.upgrade or message.chunked)
        and length > 0
        and message.headers.getall(hdrs.CONTENT_LENGTH, ()) == [str(length)]
    )
