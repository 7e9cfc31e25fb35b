"""A connection's side of the front desk (desk.py): what that answers never becomes a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from verifier.api.server.desk import Head, is_whole
from verifier.api.server.rounds import LONG, LOOK
from verifier.errors import BadRequest

if TYPE_CHECKING:
    from verifier.api.server.server import Server

receive = RequestHandler.data_received

_Read = tuple[Sequence[Any], bool, bytes]


class Asking(RequestHandler):
    """A connection that asks the front desk before it makes a request of what has arrived."""

    __slots__ = (
        "_desk",
        "_goes_on",
        "_has_paused",
        "_has_upgraded",
        "_held",
        "_parser_is_empty",
        "_rounds",
        "_server",
        "_set_aside",
    )

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop, **settings: Any) -> None:
        super().__init__(server, loop=loop, **settings)
        self._server = server
        self._desk = server.desk
        self._rounds = server.desk.rounds
        # While a question of the desk waits for its read, the waiter of the connection's loop: so
        # nobody takes up the requests that come behind it.
        self._set_aside: asyncio.Future[None] | None = None
        # Bytes that arrived while aiohttp was about to wait for them.
        self._held = b""
        # Whether these are being received.
        self._goes_on = False
        # Whether reading was ever paused: then the parser may hold what has arrived.
        self._has_paused = False
        # Whether another protocol was ever asked for: aiohttp declines, and has what came behind it
        # parsed when it likes.
        self._has_upgraded = False
        # Whether the parser is known to hold no part of a message.
        self._parser_is_empty = True

    def pause_reading(self) -> None:
        """Stop reading for now; the parser keeps what it has."""
        self._has_paused = True
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Read on, if reading was ever paused.

        aiohttp calls this for each piece of a body, and each time makes its parser look for data
        that a pause left behind. The parser may act on a pause much later, even in another request.
        """
        if self._has_paused:
            super().resume_reading(resume_parser)

    def asked_nothing(self) -> bool:
        """Whether no request has come yet."""
        return not (self._request_count or self._held)

    def count_taken(self) -> None:
        """Count a request that aiohttp does not get to know."""
        self._request_count += 1
        self._server.requests_count += 1

    def _ends_with_message(self, data: bytes) -> bool:
        """Whether the one message that the parser has made of these bytes ends with them."""
        if not self._messages:
            return False
        message, body = self._messages[-1]
        return isinstance(message, RawRequestMessage) and body.is_eof() and is_whole(data, message)

    def _is_held(self, data: bytes) -> bool:
        """Whether bytes are kept for a round, since aiohttp is about to wait for a request.

        From an answer to that it takes a round of the event loop, in which a quick client has asked
        again: who was answered past the desk once would never come back to it.
        """
        if self._goes_on:
            return False
        if self._held:
            # One after the other: what is wrong with one piece is not to concern another.
            self._go_on()
            self.data_received(data)
            return True
        is_about_to_wait = (
            self._desk.is_open
            and self._parser_is_empty
            and self._current_request is None
            and self._set_aside is None
        )
        if is_about_to_wait:
            self._held = data
            self._loop.call_soon(self._go_on)
        return is_about_to_wait

    def _go_on(self) -> None:
        """Receive what was held; the long way, if aiohttp does not wait for it after all."""
        held, self._held = self._held, b""
        if not held or self.transport is None or self.transport.is_closing():
            return
        self._goes_on = True
        try:
            self.data_received(held)
            self._goes_on = False
        finally:
            if self._goes_on:
                # Nobody else does, as where the transport delivers it: the client would wait.
                self.force_close()

    def _receive_first(self, data: bytes) -> bool:
        """Receive the first bytes of a request, on a connection that waits for one.

        Whether the front desk has taken them. Otherwise it is as if aiohttp had received them.
        """
        if not self._desk.is_open:
            receive(self, data)
            return False
        head = self._desk.head_of(data)
        if head is not None and self._is_answered(head, data):
            return True
        parser: Any = self._parser
        read: _Read | HttpProcessingError
        try:
            read = messages, upgraded, _ = parser.feed_data(data)
        except HttpProcessingError as error:
            read = error
        else:
            if len(messages) == 1 and not upgraded and not self._has_paused:
                ((message, body),) = messages
                head = self._desk.meaning_of(data, message) if body.is_eof() else None
                if head is not None and self._is_answered(head, data):
                    parser.message_consumed()
                    return True
        self._parser = cast("Any", _Reread(read))
        receive(self, data)
        self._parser = parser
        return False

    def _is_answered(self, head: Head, data: bytes) -> bool:
        """Whether the front desk has taken a request that is all of the bytes at hand."""
        transport = self.transport
        # A client that does not read waits as any other does.
        if transport is None or transport.get_write_buffer_size():
            return False
        length, language, at_once, caller, _, is_denied = head
        try:
            answer = at_once(data[-length:], caller, language, self.answer_later)
        except BadRequest:
            return False
        self.count_taken()
        if answer is None:
            self._set_aside, self._waiter = self._waiter, None
            self._request_in_progress = True
        else:
            transport.write(answer)
            if is_denied:
                self._desk.denials.told(transport)
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
            rounds = self._rounds
            rounds.answered = answered = rounds.answered + 1
            if answered == LOOK:
                rounds.look_for_end()
            elif answered >= LONG:
                rounds.rest(transport)
        return True

    def answer_later(self, make: Callable[[], bytes]) -> None:
        """Make and write the answer that a question of the desk has waited for, and go on."""
        self._request_in_progress = False
        if self._handler_waiter is not None:
            # A shutdown goes on when this turn of the event loop is over.
            self._handler_waiter.set_result(None)
        answer = None
        try:
            answer = make()
        finally:
            if answer is None:
                # A client whose answer cannot be made would wait for ever.
                self.force_close()
        transport, waiter = self.transport, self._set_aside
        if transport is None or waiter is None:
            return
        if is_last := self._server.is_draining and not self._messages:
            answer = answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        transport.write(answer)
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        self._set_aside, self._waiter = None, waiter
        if self._close or self._force_close or is_last:
            waiter.cancel()
            transport.close()
        elif self._messages:
            waiter.set_result(None)

    def force_close(self) -> None:
        """Close the connection now, whatever is under way."""
        if self._set_aside is not None:
            self._set_aside, self._waiter = None, self._set_aside
        super().force_close()

    def _process_keepalive(self) -> None:
        """Close the connection if it has been idle for long, which it is not while it asks."""
        if self._set_aside is not None:
            self._keepalive_handle = self._loop.call_later(
                self._keepalive_timeout, self._process_keepalive
            )
            return
        super()._process_keepalive()


class _Reread:
    """Stands in for the parser where aiohttp takes in what that has read already."""

    def __init__(self, read: _Read | HttpProcessingError) -> None:
        self._read = read

    def feed_data(self, _: bytes) -> _Read:
        """What was read; raises what was raised."""
        if isinstance(self._read, HttpProcessingError):
            raise self._read
        return self._read
