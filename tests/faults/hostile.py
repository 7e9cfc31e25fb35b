"""A crowd of hostile clients: ``python -m tests.faults.hostile PORT IDLE SLOW QUESTION``.

Of IDLE connections each asks the question once and then nothing more. Of SLOW ones most trickle a
head and one in five a body; who is cut off comes back. Beside them everything that is too large is
sent, again and again. Says ``begun`` once the idle ones are there, and goes on until its input
ends; then each idle connection asks a second time. Writes what all of them saw, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from collections import Counter
from collections.abc import Sequence
from random import Random

from bench.attackers import Crowd
from tests.faults.wire import request

IDLE, HEAD, BODY = "idle", "slow head", "slow body"

# What is too large, in the pieces in which it is sent, the last of which is too much; and the
# status that it must get. An item of a batch that is too deep, or a line of a stream that is too
# long, is invalid, and the rest is not.
_BATCH = "/v1/verify/batch"
_HEAD = b"GET /livez HTTP/1.1\r\nHost: faults\r\n"
_NDJSON = b"application/json", b"application/x-ndjson"
_CHUNKED = request("POST", _BATCH, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
_LARGE = 16_800_000
_DEEP = b"[" * 20_000 + b"]" * 20_000
OVERSIZED: dict[str, tuple[int, Sequence[bytes]]] = {
    "line": (431, [b"GET /%b HTTP/1.1\r\n\r\n" % (b"a" * 20_000)]),
    "field": (431, [b"%bA: %b\r\n\r\n" % (_HEAD, b"a" * 20_000)]),
    "fields": (431, [_HEAD + b"A: b\r\n" * 1_000 + b"\r\n"]),
    "head": (431, [_HEAD, *[b"A: %b\r\n" % (b"a" * 6_000)] * 6]),
    "body": (413, [request("POST", "/v1/verify", b" " * 100_000)]),
    "batch": (413, [request("POST", _BATCH, b" " * _LARGE)]),
    "chunks": (413, [_CHUNKED, b"%x\r\n%b\r\n0\r\n\r\n" % (_LARGE, b" " * _LARGE)]),
    "items": (413, [request("POST", _BATCH, b'{"invoices":[%b{}]}' % (b"{}," * 10_000))]),
    "depth": (200, [request("POST", _BATCH, b'{"invoices":[{"qr":%b}]}' % _DEEP)]),
    "long": (200, [request("POST", "/v1/verify/stream", b"a" * 100_000).replace(*_NDJSON, 1)]),
}

# Seconds until one of these is sent again, or one who was cut off comes back.
_PAUSE = 0.5
# Connections that are being opened at once: more would fill the queue of those to be accepted.
_OPENING = 64
# Bytes handed to the system at once: it copies them without a break, and others wait on this core.
_HANDED = 1 << 15
_PATIENCE = 20.0


class Hostile:
    """The clients, and what they have seen: a status, ``cut``, or ``unanswered``."""

    def __init__(self, port: int, question: bytes) -> None:
        self._port = port
        self._question = request("POST", "/v1/verify", question)
        self._tricklers = Crowd([question])
        self._opening = asyncio.Semaphore(_OPENING)
        self._random = Random(1)
        self.seen: Counter[str] = Counter()

    async def run(self, idle: int, slow: int, ended: asyncio.Event) -> None:
        """Attack until the end."""
        over = asyncio.Event()
        quiet = [asyncio.create_task(self._idle(over)) for _ in range(idle)]
        while self.seen[IDLE] < idle and not any(task.done() for task in quiet):
            await asyncio.sleep(0.01)
        loud = [
            asyncio.create_task(self._again(BODY if number % 5 == 0 else HEAD))
            for number in range(slow)
        ]
        loud += [asyncio.create_task(self._send(kind)) for kind in OVERSIZED]
        sys.stdout.write("begun\n")
        sys.stdout.flush()
        await ended.wait()
        for task in loud:
            task.cancel()
        await asyncio.wait(loud)
        for task in loud:
            if not task.cancelled():
                task.result()
        over.set()
        await asyncio.gather(*quiet)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with self._opening:
            return await asyncio.open_connection("127.0.0.1", self._port, limit=1_024)

    async def _idle(self, over: asyncio.Event) -> None:
        reader, writer = await self._open()
        await self._ask(reader, writer)
        self.seen[IDLE] += 1
        await over.wait()
        async with self._opening:
            await self._ask(reader, writer)
        self.seen["idle, asked again"] += 1
        writer.transport.abort()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Ask until there is an answer: in so large a crowd some are refused for a moment."""
        while True:
            writer.write(self._question)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
            if head.startswith(b"HTTP/1.1 200 "):
                return
            assert head.startswith(b"HTTP/1.1 503 "), head
            self.seen[f"{IDLE}: 503"] += 1
            await asyncio.sleep(1.0 + self._random.random())

    async def _again(self, kind: str) -> None:
        """Trickle until cut off, and come back."""
        trickle = self._tricklers.trickled_head if kind == HEAD else self._tricklers.trickled_body
        while True:
            try:
                reader, writer = await self._open()
                try:
                    said = await trickle(reader, writer)
                finally:
                    writer.transport.abort()
                self.seen[f"{kind}: {said[9:] or 'cut'}"] += 1
            except OSError:
                self.seen[f"{kind}: cut"] += 1
            await asyncio.sleep(_PAUSE * (1.0 + self._random.random()))

    async def _send(self, kind: str) -> None:
        """Send what is too large, and read what is said to it."""
        _, pieces = OVERSIZED[kind]
        while True:
            self.seen[f"{kind}: {await self._status(pieces)}"] += 1
            await asyncio.sleep(_PAUSE)

    async def _status(self, pieces: Sequence[bytes]) -> str:
        try:
            reader, writer = await self._open()
            try:
                async with asyncio.timeout(_PATIENCE):
                    for piece in pieces:
                        for start in range(0, len(piece), _HANDED):
                            writer.write(piece[start : start + _HANDED])
                            await writer.drain()
                        # So that they arrive one by one.
                        await asyncio.sleep(0.005)
                    return (await reader.read(12)).decode()[9:] or "cut"
            finally:
                writer.transport.abort()
        except TimeoutError:
            return "unanswered"
        except OSError:
            return "cut"


async def attack(port: int, idle: int, slow: int, question: bytes) -> Counter[str]:
    """What all of them saw until the input ended."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    hostile = Hostile(port, question)
    await hostile.run(idle, slow, ended)
    return hostile.seen


def main() -> None:
    """Write what they saw."""
    port, idle, slow = map(int, sys.argv[1:4])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Where the system keeps others waiting for the sake of a crowd, the service does not.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    sys.stdout.write(json.dumps(asyncio.run(attack(port, idle, slow, sys.argv[4].encode()))))


if __name__ == "__main__":
    main()
