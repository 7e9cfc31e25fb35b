"""The front desk: a request that comes in one piece is answered where its bytes arrive.

On a connection that waits for one, and for a route that can (``Route.at_once``), it costs no task
and no request object. Clients mostly send the same head again: one that aiohttp's parser has
accepted twice is kept with what it means, since the same bytes at the beginning of a message mean
the same, and then costs a look into a dictionary. Other heads are read by aiohttp's parser. Nothing
is parsed here, so there is no second parser that could read a request differently. Everything else
takes aiohttp's way.

The order of checks, for who adds one: what the head means, its key included; whether that key still
holds and is good for it, which is asked each time; the body is whole; the client has read what it
got; the question can be read; only then it is counted and answered. Where a refusal for want of
room belongs depends on what it costs: a match from memory is answered at the same cost.

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

from verifier.access.callers import Caller
from verifier.access.keys import Scope
from verifier.api.server.denials import Denials
from verifier.api.server.guard import KEY_FIELDS, Guard
from verifier.api.server.rounds import Rounds
from verifier.api.server.route import AtOnce, Route
from verifier.config import Connections
from verifier.engine.doorkeeper import Doorkeeper
from verifier.errors import BadRequest, Unavailable
from verifier.wire.messages import Language, language_of

_END = b"\r\n\r\n"

# A longer one is not kept: with the number of heads, it bounds their memory.
MAX_HEAD = 2_048

# How many heads are remembered as denied, and for how many seconds.
_DENIED, _DENIED_SECONDS = 256, 0.5

# Fields that are aiohttp's, or the handler's, to deal with.
_SPECIAL = frozenset(map(str.lower, (hdrs.EXPECT, hdrs.CONTENT_ENCODING, hdrs.UPGRADE)))

# A head with a field of such a name may hold a secret, and is not kept; but one with a key is, as
# long as that holds: so its caller is found without hashing anything.
_SECRET = re.compile("auth|cookie|key|pass|secret|session|sign|token")


class Head(NamedTuple):
    """What a head says: the length of its body (at least 1), a language, who asks and who answers.

    ``scope`` is what the caller's key has to be good for. Nobody in particular asks without keys,
    and who is denied has no good one.
    """

    length: int
    language: Language
    at_once: AtOnce
    caller: Caller | None = None
    scope: Scope | None = None
    is_denied: bool = False


class Desk:
    """The heads that are known; one per process. ``rounds`` are those of its event loop."""

    def __init__(
        self,
        routes: Iterable[Route],
        bounds: Connections,
        rounds: Rounds,
        guard: Guard,
        denials: Denials,
    ) -> None:
        self.rounds = rounds
        self.denials = denials
        self._guard = guard
        # Those that can, by method and path.
        self._routes: dict[tuple[str, str], Route] = {
            (route.method, route.path): route for route in routes if route.at_once
        }
        self._most = bounds.known_heads
        self.is_open = bool(self._most and self._routes)
        # The oldest first.
        self._heads: dict[bytes, Head] = {}
        self._came = Doorkeeper(max(1, self._most))
        # Those that were denied last, and until when they are without another look.
        self._denied: dict[bytes, tuple[float, Head]] = {}

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._heads)

    def head_of(self, data: bytes) -> Head | None:
        """What the head says of a request that is here in one piece; None if that is not known."""
        end = data.find(_END) + 4
        head = self._heads.get(data[:end])
        if head is None:
            return self._denied_just_now(data, end)
        if head.length != len(data) - end:
            return None
        caller = head.caller
        if caller is not None and not (head.scope and caller.may(head.scope)):
            del self._heads[data[:end]]
            return None
        return head

    def _denied_just_now(self, data: bytes, end: int) -> Head | None:
        """What denied the same head a moment ago; a key may be made meanwhile."""
        denied = self._denied.get(data[:end])
        if denied is None:
            return None
        until, head = denied
        if self.denials.clock() >= until:
            del self._denied[data[:end]]
            return None
        return head if head.length == len(data) - end else None

    def _deny(self, data: bytes, end: int, head: Head) -> Head:
        if len(self._denied) >= _DENIED:
            del self._denied[next(iter(self._denied))]
        if end <= MAX_HEAD:
            self._denied[data[:end]] = self.denials.clock() + _DENIED_SECONDS, head
        return head

    def meaning_of(self, data: bytes, message: RawRequestMessage) -> Head | None:
        """What the head says of a request in one piece, once aiohttp's parser has read it.

        None when that is for the handler. It is kept when it comes again, and not denied.
        """
        route = self._routes.get((message.method, message.path))
        end = data.find(_END) + 4
        length = len(data) - end
        if route is None or not _is_one_piece(message, length):
            return None
        headers = message.headers
        names = {name.lower() for name in headers}
        if not _SPECIAL.isdisjoint(names) or not route.heeds.isdisjoint(names):
            return None
        language = language_of(headers.get(hdrs.ACCEPT_LANGUAGE, ""))
        try:
            caller = self._guard.caller_at_desk(headers, route)
        except BadRequest as error:
            at_once = self.denials.of(route, error)
            return self._deny(data, end, Head(length, language, at_once, is_denied=True))
        except Unavailable:
            return None
        assert route.at_once is not None
        meaning = Head(length, language, route.at_once, caller, route.scope)
        if caller is not None:
            names -= KEY_FIELDS
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
