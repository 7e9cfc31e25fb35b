"""The response of a single answer: status, headers and body in one write.

aiohttp's Response makes a multi-dict of headers, fills in half a dozen and serialises them anew
for each answer, which costs more than the answer itself (bench/test_respond.py). Here the head is
bytes that change once a second, with the date. It goes through the two methods by which aiohttp
sends any response, so keep-alive, back-pressure and shutdown are aiohttp's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from email.utils import formatdate

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

JSON = {"Content-Type": "application/json"}


class _Ready(web.StreamResponse):
    """A response whose bytes are complete."""

    def __init__(self, head: bytes, body: bytes) -> None:
        # Not StreamResponse's: it makes the objects that this class does without. What the
        # server asks of a response is prepare, write_eof and keep_alive.
        self._bytes = b"%b%d\r\n\r\n%b" % (head, len(body), body)
        self._keep_alive = True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Write all of it."""
        self._writer = writer = request.writer
        await writer.write(self._bytes)
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Wait while the client is slow to take it."""
        await self._writer.write_eof(data)


class Blocks(web.StreamResponse):
    """A 200 whose JSON body is complete, in blocks that need not be joined."""

    def __init__(self, blocks: Sequence[bytes]) -> None:
        super().__init__(headers=JSON)
        self.content_length = sum(map(len, blocks))
        self._blocks = blocks

    async def write_eof(self, data: bytes = b"") -> None:
        """Write them, and wait while the client is slow to take them."""
        for block in self._blocks:
            await self.write(block)
        await super().write_eof(data)


class Responder:
    """Makes responses; ``clock`` gives seconds since the epoch, for the Date header."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._second = 0
        self._head = b""

    def json(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """A 200 with a JSON body."""
        if request.version != HttpVersion11 or not request.keep_alive:
            return web.Response(body=body, headers=JSON)
        now = int(self._clock())
        if now != self._second:
            self._second = now
            self._head = (
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                f"Date: {formatdate(now, usegmt=True)}\r\nContent-Length: "
            ).encode()
        return _Ready(self._head, body)
