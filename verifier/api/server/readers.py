"""Clients that read their answers slowly, or go on sending a request that was refused.

The service waits for them within bounds, then cuts them off.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_protocol import RequestPayloadError

from verifier.api.server.leftovers import Leftovers
from verifier.config import Answers
from verifier.metrics import Metrics

# A transport asks writers to wait from 64 KiB on; a response of half of that never has to.
_SMALL = 32_768

# The status that proxies log when a client went before its answer; never sent.
CLIENT_GONE = 499


def is_gone(transport: asyncio.BaseTransport | None) -> bool:
    """Whether a client has gone: its transport is taken away only after it has begun to close."""
    return transport is None or transport.is_closing()


def as_lost(error: BaseException | None) -> BaseException | None:
    """The reason why a connection is lost, as a ConnectionError.

    Python reports some network errors (no route, a silent peer) as OSError or TimeoutError, which
    would look like faults and time-outs of ours.
    """
    if error is None or isinstance(error, ConnectionError):
        return error
    lost = ConnectionResetError("the connection is lost")
    lost.__cause__ = error
    return lost


class SlowReader(ConnectionResetError):
    """The client did not take in its answer in time; its connection is cut."""


class Done(web.StreamResponse):
    """Returned by a handler that has written its response itself."""

    status = 200

    def __init__(self, *, keep_alive: bool) -> None:
        # Not StreamResponse's: it makes the objects that this class does without.
        self._keep_alive = keep_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Write nothing."""
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing."""


class Cut(Done):
    """Returned when the connection has ended; an exception would be logged as a fault of ours."""

    # Never sent; the histograms have an outcome for it.
    status = CLIENT_GONE

    def __init__(self) -> None:
        super().__init__(keep_alive=False)


class Readers:
    """Waits for clients to read what was written to them.

    Each may take ``write_idle`` for what its connection's buffer holds, and at most ``max_unread``
    are waited for at once.
    """

    def __init__(self, bounds: Answers, metrics: Metrics) -> None:
        self._seconds = bounds.write_idle
        self._most = bounds.max_unread
        self._errors = metrics.http_errors
        self._leftovers = Leftovers(bounds.linger, bounds.max_unread)
        # By the tasks that wait for them, the oldest first.
        self._behind: OrderedDict[asyncio.Task[None], tuple[web.BaseRequest, str]] = OrderedDict()
        metrics.unread.set_function(lambda: len(self._behind))

    async def taken(self, request: web.BaseRequest, route: str) -> None:
        """Wait while the client's buffer is full.

        Raises SlowReader, and ConnectionError when the client is gone.
        """
        if request.protocol.writing_paused:
            await self._within(request, route, asyncio.ensure_future(request.writer.drain()))
        transport_of(request)

    async def written(
        self, request: web.BaseRequest, route: str, response: web.Response
    ) -> web.StreamResponse:
        """The response, written already if a slow client could hold it up.

        The rest of the request's body is discarded, so that the client gets to read why it was
        refused. Cut when the client does not read the response, does not stop sending, or is gone.
        """
        transport = request.transport
        sending = not request.content.is_eof()
        if transport is not None and (
            sending or transport.get_write_buffer_size() or (response.content_length or 0) > _SMALL
        ):
            writing = asyncio.ensure_future(_write(request, response))
            try:
                await self._within(request, route, writing)
                if sending:
                    await self.rest_passed(request)
            except (ConnectionError, RequestPayloadError):
                return Cut()
            except TimeoutError:
                _abort(request)
                return Cut()
        return response

    async def rest_passed(self, request: web.BaseRequest) -> None:
        """Wait until the client of a written response has sent the rest of its request.

        Raises TimeoutError when it does not in time, and the error of a broken body.
        """
        await self._leftovers.pass_over(request.content)

    async def _within(
        self, request: web.BaseRequest, route: str, writing: asyncio.Task[None]
    ) -> None:
        if len(self._behind) >= self._most:
            _, (oldest, whose) = self._behind.popitem(last=False)
            self._errors.add(whose, "too_many_unread")
            _abort(oldest)
        self._behind[writing] = request, route
        # No timeout(): once a drain was cancelled, aiohttp cannot wait for that connection again.
        try:
            await asyncio.wait({writing}, timeout=self._seconds)
            if writing.done():
                writing.result()
                return
            self._errors.add(route, "slow_reader")
            _abort(request)
            raise SlowReader(f"nothing taken in for {self._seconds:g} s")
        finally:
            self._behind.pop(writing, None)
            writing.cancel()
            # Otherwise its error, this frame and the task would keep each other alive.
            del writing


def transport_of(request: web.BaseRequest) -> asyncio.Transport:
    """The transport of a request; ConnectionResetError when the client is gone."""
    if request.transport is None:
        raise ConnectionResetError("the client is gone")
    return request.transport


def _abort(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _write(request: web.BaseRequest, response: web.Response) -> None:
    await response.prepare(request)
    await response.write_eof()
