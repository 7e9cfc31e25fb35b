"""The response that most requests get: status, headers and body in one write.

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

    # Of every one; StreamResponse would look it up.
    status = 200

    def __init__(self, first: bytes, rest: Sequence[bytes] = ()) -> None:
        # Not StreamResponse's: it makes the objects that this class does without. What the
        # server asks of a response is prepare, write_eof and keep_alive.
        self._first = first
        self._rest = rest
        self._keep_alive = True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Write all of it."""
        self._writer = writer = request.writer
        await writer.write(self._first)
        if self._rest:
            # One system call for all. That there is a transport, the first write has seen.
            assert request.transport is not None
            request.transport.writelines(self._rest)
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Wait while the client is slow to take it."""
        await self._writer.write_eof(data)
        await self._writer.drain()


class Responder:
    """Makes responses; ``clock`` gives seconds since the epoch, for the Date header."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._second = 0
        self._head = b""

    def json(
        self, request: web.BaseRequest, body: bytes, rest: Sequence[bytes] = ()
    ) -> web.StreamResponse:
        """A 200 with a JSON body, which may come in parts that need not be joined."""
        if request.version != HttpVersion11 or not request.keep_alive:
            return web.Response(body=b"".join((body, *rest)), headers=JSON)
        now = int(self._clock())
        if now != self._second:
            self._second = now
            self._head = (
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                f"Date: {formatdate(now, usegmt=True)}\r\nContent-Length: "
            ).encode()
        length = sum(map(len, rest), len(body)) if rest else len(body)
        return _Ready(b"%b%d\r\n\r\n%b" % (self._head, length, body), rest)
