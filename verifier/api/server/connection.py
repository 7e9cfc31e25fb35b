"""One client's connection: aiohttp's, with bounds.

Four things differ from aiohttp. A client that half-closes its connection after sending requests
still gets their answers. There are bounds on the number of connections, on the size and the time of
a head, and on what a client may send ahead of its turn. What cannot be read, and what fails, is
answered with a problem document, and its log line holds nothing of the request. And what the front
desk knows is answered where its bytes arrive (desk.py).
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, cast

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.http_exceptions import BadStatusLine, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestPayloadError, _ErrInfo

from verifier.api.server.asking import Asking, receive
from verifier.api.server.readers import Cut, as_lost, is_gone
from verifier.tracebacks import drop_frames

if TYPE_CHECKING:
    from verifier.api.server.server import Server


# aiohttp's parser takes others as well, HTTP/0.9 of a line without any, and answers in them.
_SPOKEN = (HttpVersion11, HttpVersion10)


class _NoMoreRequests(ConnectionError):
    """Queued behind the last request of a client that has half-closed its connection."""


class Connection(Asking):
    """One client's connection."""

    __slots__ = (
        "_body",
        "_body_is_whole",
        "_half_closed",
        "_head_expected",
        "_head_size",
        "_heads",
    )

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop, **settings: Any) -> None:
        super().__init__(server, loop, **settings)
        # aiohttp's parser stops at as many requests, of which it still counts one that was taken
        # before its body was complete: reading has to be paused, and so resumed, before it does.
        self._max_msg_queue_size -= 1
        self._half_closed = False
        # Whether the next head has a deadline; between requests it gets one with its first byte.
        self._head_expected = False
        # Bytes of the next head that have arrived.
        self._head_size = 0
        # Heads parsed so far, the body behind the last one, and whether that body is complete: then
        # the next bytes belong to a head.
        self._heads = 0
        self._body: StreamReader = EMPTY_PAYLOAD
        self._body_is_whole = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the connection and expect a head, or refuse it at once beyond the bound."""
        # uvloop's transports are none of asyncio's classes.
        if not self._server.crowd.admit(self, cast("asyncio.Transport", transport)):
            # Whatever it sends is ignored.
            self._force_close = True
            return
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection; pending reads and writes raise ConnectionError."""
        self._forget_head()
        self._server.crowd.leave(self)
        super().connection_lost(as_lost(exc))
        # Requests still queued refer to the connection, and nobody will answer them.
        self._messages.clear()
        # aiohttp tells only a request whose task has begun.
        if not self._body.is_eof() and self._body.exception() is None:
            self._body.set_exception(ConnectionResetError("the client is gone"))
        self._body = EMPTY_PAYLOAD

    def data_received(self, data: bytes) -> None:
        """Hand bytes to the parser, and bound what it has not completed."""
        if self._close or self._force_close:
            self._receive_rest(data)
            return
        waiter = self._waiter
        # Whether the connection waits for a request, and these are its first bytes.
        is_first = (
            waiter is not None
            and not waiter.done()
            and self._parser_is_empty
            and not self._has_paused
            and not self._has_upgraded
        )
        if is_first:
            if self._receive_first(data):
                return
        elif waiter is None and self._is_held(data):
            return
        else:
            # Not super(), for each request, which takes twice as long.
            receive(self, data)
        if self._upgraded:
            self._has_upgraded = True
        made = self._request_count - self._heads
        self._parser_is_empty = made == 1 and self._ends_with_message(data)
        if made:
            self._take_note(made)
        elif not self._body_is_whole:
            self._body_is_whole = self._body.is_eof()
            self._bound_ahead()
        elif data:
            self._bound_head(data)

    def count_taken(self) -> None:
        """Also note that no head is awaited any more."""
        # Not super(), which takes longer, for each question of the desk.
        Asking.count_taken(self)
        self._heads = self._request_count
        if self._head_expected:
            self._forget_head()

    def _take_note(self, made: int) -> None:
        """React to so many requests whose heads the parser has just completed."""
        self._heads = self._request_count
        if self._head_size or self._head_expected:
            self._forget_head()
        if not self._messages:
            return
        message, self._body = self._messages[-1]
        self._body_is_whole = self._body.is_eof()
        self._refuse_versions(made)
        if isinstance(message, _ErrInfo):
            # aiohttp leaves whoever reads this body waiting for more.
            self._cut_body()
        elif self._waiter is None or len(self._messages) > 1:
            self._bound_ahead()

    def _refuse_versions(self, made: int) -> None:
        """Refuse those of the last requests that are no HTTP of ours."""
        for at in range(-min(made, len(self._messages)), 0):
            message, body = self._messages[at]
            if not isinstance(message, _ErrInfo) and message.version not in _SPOKEN:
                other = _ErrInfo(status=400, exc=BadStatusLine(), message="")
                self._messages[at] = other, body

    def _receive_rest(self, data: bytes) -> None:
        """Take in what a running request waits for while the server drains.

        aiohttp would drop it, and the request would wait in vain until it is cut off.
        """
        if self._current_request is None:
            return
        close, force = self._close, self._force_close
        self._close = self._force_close = False
        try:
            self.data_received(data)
        finally:
            self._close, self._force_close = self._close or close, self._force_close or force

    def _bound_ahead(self) -> None:
        """Stop reading while the bodies of queued requests hold more than ``max_ahead``."""
        # aiohttp bounds only their number, and reads on when one has been answered.
        if self._messages and not self._buffer_paused:
            ahead = sum(body.total_bytes for _, body in self._messages)
            if ahead > self._server.bounds.max_ahead:
                self._pause_reading_for_buffer()

    def _bound_head(self, data: bytes) -> None:
        # Empty lines before a request line do not begin a head.
        if not (self._head_size or self._head_expected or data.strip()):
            return
        waiter = self._waiter
        # While requests are answered, only the size of the next one's head is bounded.
        if waiter is not None and not waiter.done() and not self._head_expected:
            self._expect_head()
        self._head_size += len(data)
        most = self._server.bounds.max_head
        if self._head_size > most:
            self._forget_head()
            too_long = _ErrInfo(status=431, exc=LineTooLong(b"", most), message="")
            self._messages.append((too_long, EMPTY_PAYLOAD))
            self._pause_reading_for_buffer()
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    def _expect_head(self) -> None:
        self._head_expected = True
        self._server.heads.set(self)

    def _forget_head(self) -> None:
        self._head_size = 0
        if self._head_expected:
            self._head_expected = False
            self._server.heads.drop(self)

    def is_late(self) -> None:
        """Close the connection: its head has not arrived in time."""
        self._head_expected = False
        if self.transport is not None and not self._force_close:
            self.transport.write(self._server.refusals.unread("header_timeout"))
            self.force_close()

    async def _drain_helper(self) -> None:
        """Wait until there is room for more; ConnectionError when the client is gone."""
        try:
            await super()._drain_helper()
        except ConnectionError as error:
            drop_frames(error)
            raise ConnectionResetError("the client is gone") from None

    # asyncio asks whether to keep the connection; aiohttp's says nothing.
    def eof_received(self) -> bool:  # type: ignore[override]
        """Whether to keep the other direction open: while requests wait for their answers."""
        if self._half_closed:
            return True
        self._go_on()
        waiter = self._waiter
        idle = waiter is not None and not waiter.done()
        if idle or (self._force_close and self._current_request is None):
            return False
        self._half_closed = True
        self._cut_body()
        # In the queue, so that the requests before it are answered first.
        end = _ErrInfo(status=400, exc=_NoMoreRequests(), message="")
        self._messages.append((end, EMPTY_PAYLOAD))
        return True

    def _cut_body(self) -> None:
        """Tell whoever reads the last request's body that no more of it will come."""
        for _, body in self._messages:
            _cut(body)
        # Of an answered request aiohttp itself reads the rest.
        _cut(self._body)
        if self._current_request is None:
            # Its task may not have run yet.
            self._loop.call_soon(self._cut_current)
        else:
            self._cut_current()

    def _cut_current(self) -> None:
        if self._current_request is not None:
            _cut(self._current_request.content)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a request that cannot be read or failed.

        aiohttp passes no exception when a handler raised TimeoutError.
        """
        error = exc or sys.exc_info()[1]
        assert error is not None
        try:
            return self._answer_to(request, error)
        finally:
            drop_frames(error)

    def _answer_to(self, request: web.BaseRequest, error: BaseException) -> web.StreamResponse:
        if isinstance(error, _NoMoreRequests):
            return Cut()
        if isinstance(error, ConnectionError) and is_gone(self.transport):
            # The client is gone: nobody is at fault, and there is nobody to tell.
            return Cut()
        response = self._server.refusals.of_error(request, error)
        if request.writer.output_size > 0:
            # Part of another answer was sent.
            return Cut()
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log an exception that aiohttp reports, without its text, which may quote the request."""
        error = kw.get("exc_info") or sys.exc_info()[1]
        # The rest of a body is skipped after the answer: that it is broken, or that the client has
        # gone meanwhile, is nobody's problem.
        gone = isinstance(error, ConnectionError) and is_gone(self.transport)
        if not gone and not isinstance(error, RequestPayloadError):
            self._server.refusals.note(error)
        if error is not None:
            drop_frames(error)

    def log_debug(self, *args: Any, **kw: Any) -> None:
        """Log nothing: the text may quote the request."""


def _cut(body: StreamReader) -> None:
    if not body.is_eof():
        body.set_exception(RequestPayloadError("no more of the body will come"))
