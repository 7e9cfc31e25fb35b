"""One client's connection: aiohttp's, with bounds.

Three things are done otherwise than by aiohttp. A client that half-closes its connection after
its requests gets their answers. A connection is refused beyond so many, when its head does not
arrive in time or is too large, and is not read from while too much waits for its turn. What cannot
be read or fails is a problem document, and its log line holds nothing of the request.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, RequestPayloadError, _ErrInfo

from verifier.api.server.readers import Cut
from verifier.tracebacks import drop_frames

if TYPE_CHECKING:
    from verifier.api.server.server import Server


class _NoMoreRequests(ConnectionError):
    """Stands behind the last request of a client that has half-closed its connection."""


class Connection(RequestHandler):
    """One client's connection."""

    __slots__ = (
        "_body",
        "_body_is_whole",
        "_half_closed",
        "_has_paused",
        "_head_expected",
        "_head_size",
        "_heads",
        "_server",
    )

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop, **settings: Any) -> None:
        super().__init__(server, loop=loop, **settings)
        self._server = server
        self._half_closed = False
        # While there is a deadline for it: not between requests, until some of it has arrived.
        self._head_expected = False
        # What has arrived of it.
        self._head_size = 0
        # How many heads were whole; the body behind the last one, and whether all of it is there,
        # so that what arrives next is of a head.
        self._heads = 0
        self._body: StreamReader = EMPTY_PAYLOAD
        self._body_is_whole = True
        self._has_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuse it at once beyond the bound, else expect a first head."""
        if not self._server.crowd.admit(self):
            # What it sends is not looked at.
            self._force_close = True
            # uvloop's transports are none of asyncio's classes.
            self._server.crowd.turn_away(self, cast("asyncio.Transport", transport))
            return
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget it; who reads or writes gets a ConnectionError, whatever the network said."""
        self._forget_head()
        self._server.crowd.leave(self)
        super().connection_lost(as_lost(exc))
        # They refer to the connection, and are not answered any more.
        self._messages.clear()
        self._body = EMPTY_PAYLOAD

    def asked_nothing(self) -> bool:
        """Whether no request has come yet."""
        return not self._request_count

    def data_received(self, data: bytes) -> None:
        """Take in what arrives; the rest of a head that is not whole has to arrive in time."""
        if self._close or self._force_close:
            self._receive_rest(data)
            return
        # Not super(): this runs for every request, and that takes twice as long.
        _receive(self, data)
        if self._heads != self._request_count:
            self._take_note()
        elif not self._body_is_whole:
            self._body_is_whole = self._body.is_eof()
            self._bound_ahead()
        elif data:
            self._bound_head(data)

    def _take_note(self) -> None:
        """Of requests whose heads have just become whole."""
        self._heads = self._request_count
        if self._head_size or self._head_expected:
            self._forget_head()
        if not self._messages:
            return
        message, self._body = self._messages[-1]
        self._body_is_whole = self._body.is_eof()
        if isinstance(message, _ErrInfo):
            # aiohttp leaves whoever reads this body waiting for more.
            self._cut_body()
        elif self._waiter is None or len(self._messages) > 1:
            self._bound_ahead()

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

    def pause_reading(self) -> None:
        """Read no more for now, and have the parser keep what it has."""
        self._has_paused = True
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Read on, if reading was ever paused.

        aiohttp calls this for each piece of a body, and each time has its parser look for what a
        pause has left. A parser may do as it was told much later, in another request even.
        """
        if self._has_paused:
            super().resume_reading(resume_parser)

    def _bound_ahead(self) -> None:
        """Read no more for now when requests that wait for their turn hold much."""
        # aiohttp bounds their number alone, and goes on when one has had its turn.
        if self._messages and not self._buffer_paused:
            ahead = sum(body.total_bytes for _, body in self._messages)
            if ahead > self._server.bounds.max_ahead:
                self._pause_reading_for_buffer()

    def _bound_head(self, data: bytes) -> None:
        # Empty lines before a request line are no part of it.
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
        waiter = self._waiter
        idle = waiter is not None and not waiter.done()
        if idle or (self._force_close and self._current_request is None):
            return False
        self._half_closed = True
        self._cut_body()
        # The place of the next request, so that those before it are answered first.
        end = _ErrInfo(status=400, exc=_NoMoreRequests(), message="")
        self._messages.append((end, EMPTY_PAYLOAD))
        return True

    def _cut_body(self) -> None:
        """Tell whoever reads the last request's body that no more of it will come."""
        for _, body in self._messages:
            _cut(body)
        if self._current_request is None:
            # It may have a task that has not run yet.
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

        aiohttp gives no exception when a handler let a TimeoutError pass.
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
        if isinstance(error, ConnectionError) and self.transport is None:
            # The client is gone: nobody is at fault, and there is nobody to tell.
            return Cut()
        response = self._server.refusals.of_error(request, error)
        if request.writer.output_size > 0:
            # Part of another answer was sent.
            return Cut()
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """What aiohttp says of an exception, without its words: they may quote the request."""
        error = kw.get("exc_info") or sys.exc_info()[1]
        # The rest of a body that is skipped after the answer may be as it likes.
        if not isinstance(error, RequestPayloadError):
            self._server.refusals.note(error)
        if error is not None:
            drop_frames(error)

    def log_debug(self, *args: Any, **kw: Any) -> None:
        """Nothing: aiohttp's words may quote the request."""


_receive = RequestHandler.data_received


def _cut(body: StreamReader) -> None:
    if not body.is_eof():
        body.set_exception(RequestPayloadError("no more of the body will come"))


def as_lost(error: BaseException | None) -> BaseException | None:
    """Why a connection is lost, as a ConnectionError.

    For some networks' errors (no route, a peer that is silent for too long) Python has other ones,
    which would look like faults and time-outs of ours.
    """
    if error is None or isinstance(error, ConnectionError):
        return error
    lost = ConnectionResetError("the connection is lost")
    lost.__cause__ = error
    return lost
