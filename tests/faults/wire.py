"""HTTP/1.1 as the load speaks it: keep-alive connections that know exactly when they send.

A connection has at most one request under way. It is given up after some hundreds of requests, so
that the load spreads anew over the workers that share the port, restarted ones included.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import cast

import msgspec

_SWEEP = 0.25


class Reply(msgspec.Struct):
    """What came of a request: status 0 when its connection ended first, -1 when it hung."""

    status: int
    body: bytes
    sent: float
    received: float


Done = Callable[[Reply], None]


def request(method: str, path: str, body: bytes, token: str = "") -> bytes:
    """A request as it goes over the wire."""
    lines = method == "POST" and path.startswith("/v1/ledger/")
    media = "application/x-ndjson" if lines else "application/json"
    extra = f"Consistency-Token: {token}\r\n" if token else ""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: faults\r\nContent-Type: {media}\r\n"
        f"{extra}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class Connection(asyncio.Protocol):
    """One connection; ``idle`` and ``lost`` are called when it can take another request or not."""

    def __init__(
        self, idle: Callable[[Connection], None], lost: Callable[[Connection], None]
    ) -> None:
        self._idle, self._lost = idle, lost
        self._transport: asyncio.Transport
        self._buffer = b""
        self._needed = -1
        self._done: Done | None = None
        self.sent = 0.0
        self.served = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast("asyncio.Transport", transport)
        self._idle(self)

    def send(self, data: bytes, done: Done) -> None:
        """Send a request; ``done`` is called exactly once."""
        self._done = done
        self.served += 1
        self.sent = monotonic()
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._buffer += data
        if self._needed < 0:
            head, complete, _ = self._buffer.partition(b"\r\n\r\n")
            if not complete:
                return
            length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
            self._needed = len(head) + 4 + int(length)
        if len(self._buffer) >= self._needed:
            status, body = int(self._buffer[9:12]), self._buffer.partition(b"\r\n\r\n")[2]
            self._buffer, self._needed = b"", -1
            self._finish(status, body)
            self._idle(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio."""
        self._lost(self)
        self._finish(0, b"")

    def hangs(self, since: float) -> bool:
        """Whether its request has been under way since before a moment."""
        return self._done is not None and self.sent < since

    def give_up(self, status: int = 0) -> None:
        """Drop the connection, and the request that is under way."""
        self._finish(status, b"")
        self._transport.abort()

    def _finish(self, status: int, body: bytes) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(Reply(status, body, self.sent, monotonic()))


class Pool:
    """Up to ``limit`` connections to a port, used in turns; what finds none free waits its turn.

    A request that is under way for longer than ``patience`` seconds hangs, and is given up.
    """

    def __init__(
        self, port: int, limit: int, patience: float = 15.0, requests_each: int = 300
    ) -> None:
        self._port = port
        self._limit = limit
        self._patience = patience
        self._requests_each = requests_each
        self._idle: deque[Connection] = deque()
        self._waiting: deque[tuple[bytes, Done]] = deque()
        self._all: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._sweeping = asyncio.create_task(self._sweep())

    def ask(self, data: bytes, done: Done) -> None:
        """Send a request as soon as there is a connection for it."""
        self._waiting.append((data, done))
        self._serve()
        if len(self._all) + len(self._opening) < self._limit:
            opening = asyncio.create_task(self._open())
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    async def close(self) -> None:
        """Drop everything."""
        self._sweeping.cancel()
        for task in (self._sweeping, *self._opening):
            task.cancel()
            await asyncio.wait({task})
        for connection in list(self._all):
            connection.give_up()

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(
                lambda: Connection(self._free, self._lost), "127.0.0.1", self._port
            )
        except OSError:
            # Nobody listens: that is the answer to whoever has waited for longest.
            if self._waiting:
                now = monotonic()
                self._waiting.popleft()[1](Reply(0, b"", now, now))

    def _free(self, connection: Connection) -> None:
        self._all.add(connection)
        if connection.served >= self._requests_each:
            connection.give_up()
        else:
            self._idle.append(connection)
            self._serve()

    def _lost(self, connection: Connection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _serve(self) -> None:
        while self._idle and self._waiting:
            data, done = self._waiting.popleft()
            self._idle.popleft().send(data, done)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP)
            since = monotonic() - self._patience
            for connection in [each for each in self._all if each.hangs(since)]:
                connection.give_up(-1)
