"""A crowd of hostile clients: ``python -m bench.attackers KIND ADDRESS QUESTIONS``.

Says ``begun`` when each of them has connected, and goes on until its input ends. A client that is
cut off or refused comes back after one to two seconds: Retry-After asks for at least one.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

from bench.client import post
from loadtests.generator.connections import Address

BATCH = "/v1/verify/batch"
BACK_SECONDS = 1.0
ITEMS = 10_000
FILES = 16_384

# The attack ends by itself when nobody ends it.
LONGEST_SECONDS = 900.0

Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[str]]


class Crowd:
    """``bodies`` are questions that match, the last one about an invoice of many red letters."""

    def __init__(self, bodies: list[bytes]) -> None:
        items = (bodies * (ITEMS // len(bodies) + 1))[:ITEMS]
        self._question = post("/v1/verify", bodies[0])
        self._batch = post(BATCH, b'{"invoices":[%b]}' % b",".join(items))
        unknown = b",".join(b'"f%d":1' % field for field in range(2_000))
        self._taken_back = post(BATCH, b'{"invoices":[%b]}' % b",".join([bodies[-1]] * ITEMS))
        self._unknown = post(BATCH, b'{"invoices":[%b]}' % b",".join([b"{%b}" % unknown] * 40))
        # How many clients there are of each kind, and what one does until it is cut off.
        self.kinds: dict[str, tuple[int, Client]] = {
            "unread batches": (100, self.unread),
            "unknown fields": (60, self.unknown),
            "red letters": (60, self.taken_back),
            "trickled heads": (500, self.trickled_head),
            "trickled bodies": (100, self.trickled_body),
            "silent connections": (5_000, self.silent),
            "idle connections": (10_000, self.idle),
            "unread questions": (100, self.pipelined),
        }

    async def unread(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        """Send a whole batch and read no more than the head of the answer."""
        writer.write(self._batch)
        await writer.drain()
        head = await reader.readexactly(12)
        if head.endswith(b"200"):
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.Event().wait()
        return head.decode()

    async def unknown(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        """Send items of thousands of unknown fields."""
        return await _again(self._unknown, reader, writer)

    async def taken_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        """Ask about the one with many red letters."""
        return await _again(self._taken_back, reader, writer)

    async def trickled_head(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> str:
        """Send a line of a head every second."""
        writer.write(b"POST /v1/verify HTTP/1.1\r\nHost: x\r\n")
        return await self._trickle(reader, writer, b"A: b\r\n" * 10_000, 6, 1.0)

    async def trickled_body(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> str:
        """Send a batch, a few KB every half a second."""
        return await self._trickle(reader, writer, self._batch, 4_000, 0.5)

    async def silent(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        """Send nothing."""
        return (await reader.read(12)).decode()

    async def idle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        """Ask one question, and keep the connection."""
        writer.write(self._question)
        status = (await reader.readuntil(b"\r\n\r\n"))[:12]
        while await reader.read(1_024):
            pass
        return status.decode()

    async def pipelined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        """Send a thousand questions at once, and read no more than the head of an answer."""
        writer.write(self._question * 1_000)
        status = await reader.readexactly(12)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await writer.drain()
        await asyncio.Event().wait()
        return status.decode()

    async def _trickle(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        data: bytes,
        size: int,
        seconds: float,
    ) -> str:
        answer = asyncio.create_task(reader.read(12))
        for start in range(0, len(data), size):
            writer.write(data[start : start + size])
            done, _ = await asyncio.wait({answer}, timeout=seconds)
            if done:
                break
        return (await answer).decode()


async def _again(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Send it, and again as soon as it is answered."""
    while True:
        writer.write(request)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            return head[:12].decode()
        left = int(head.lower().partition(b"content-length:")[2].split()[0])
        while left:
            left -= len(await reader.read(left))


class Attack:
    """The clients of a kind, and what they have seen."""

    def __init__(self, crowd: Crowd, kind: str, address: Address) -> None:
        self._count, self._client = crowd.kinds[kind]
        self._address = address
        self._random = Random(1)
        self._connected = 0
        self._begun = asyncio.Event()
        self.seen: Counter[str] = Counter()

    async def run(self, ended: asyncio.Event) -> None:
        """Attack until the end."""
        async with asyncio.timeout(LONGEST_SECONDS), asyncio.TaskGroup() as group:
            clients = [group.create_task(self._come_back()) for _ in range(self._count)]
            await self._begun.wait()
            print("begun", flush=True)
            await ended.wait()
            for each in clients:
                each.cancel()

    async def _come_back(self) -> None:
        """Be a client again and again."""
        while True:
            try:
                reader, writer = await asyncio.open_connection(*self._address, limit=1_024)
                self._connected += 1
                if self._connected >= self._count:
                    self._begun.set()
                try:
                    self.seen[await self._client(reader, writer) or "closed"] += 1
                finally:
                    writer.transport.abort()
            except (OSError, asyncio.IncompleteReadError):
                self.seen["cut off"] += 1
            await asyncio.sleep(BACK_SECONDS * (1.0 + self._random.random()))


async def attack(crowd: Crowd, kind: str, address: Address) -> Counter[str]:
    """What the clients of a kind saw until the input ended."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    under_way = Attack(crowd, kind, address)
    await under_way.run(ended)
    return under_way.seen


def main() -> None:
    """Write what they saw, as JSON."""
    kind, address, questions = sys.argv[1:]
    host, _, port = address.partition(":")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))
    crowd = Crowd(Path(questions).read_bytes().split())
    print(json.dumps(asyncio.run(attack(crowd, kind, (host, int(port))))))


if __name__ == "__main__":
    main()
