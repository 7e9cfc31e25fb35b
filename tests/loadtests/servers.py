"""Servers of known behaviour, as processes of their own: ``python -m tests.loadtests.servers``."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from loadtests.generator.connections import Address


class Behaviour(msgspec.Struct, frozen=True):
    """How a server answers single questions: all of them with ``not_found``.

    It stands still for ``stall`` seconds at the beginning of each ``period``. It answers at most
    ``capacity`` requests a second, one after the other, and refuses (503, ``overloaded``) what
    finds more than ``queue`` waiting. Each ``wrong``-th gets the verdict ``pending``.
    """

    stall: float = 0.0
    period: float = 1.0
    capacity: float | None = None
    queue: int = 1_000
    wrong: int | None = None


class _Server(asyncio.Protocol):
    """One connection of a client that has one request under way at a time."""

    answered = 0
    free_at = 0.0

    def __init__(self, behaviour: Behaviour, answer: Callable[[], bytes]) -> None:
        self._behaviour = behaviour
        self._answer = answer
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._buffer += data
        head, complete, body = self._buffer.partition(b"\r\n\r\n")
        if not complete:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(body) < length:
            return
        self._buffer = b""
        behaviour, loop = self._behaviour, asyncio.get_running_loop()
        now = loop.time()
        if behaviour.capacity is not None:
            ahead = max(0.0, _Server.free_at - now)
            if ahead * behaviour.capacity > behaviour.queue:
                self._transport.write(_response(503, b'{"reason":"overloaded"}'))
                return
            _Server.free_at = now + ahead + 1 / behaviour.capacity
            loop.call_at(_Server.free_at, self._send)
        elif now % behaviour.period < behaviour.stall:
            loop.call_at(now - now % behaviour.period + behaviour.stall, self._send)
        else:
            self._send()

    def _send(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(_response(200, self._answer()))


def _response(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def _answering(behaviour: Behaviour) -> Callable[[], bytes]:
    asked = 0

    def answer() -> bytes:
        nonlocal asked
        asked += 1
        if behaviour.wrong is not None and asked % behaviour.wrong == 0:
            return b'{"verdict":"pending"}'
        return b'{"verdict":"not_found"}'

    return answer


async def _serve(behaviour: Behaviour) -> None:
    loop = asyncio.get_running_loop()
    answer = _answering(behaviour)
    server = await loop.create_server(lambda: _Server(behaviour, answer), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    # Until whoever has started it is done.
    await loop.run_in_executor(None, sys.stdin.read)


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[Address]:
    """Run a server while the block runs."""
    command = [sys.executable, "-m", "tests.loadtests.servers"]
    with subprocess.Popen(
        [*command, msgspec.json.encode(behaviour).decode()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield "127.0.0.1", int(process.stdout.readline())
        finally:
            process.stdin.close()


if __name__ == "__main__":
    asyncio.run(_serve(msgspec.json.decode(sys.argv[1], type=Behaviour)))
