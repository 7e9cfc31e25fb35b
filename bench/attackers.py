"""A crowd of hostile clients: ``python -m bench.attackers KIND ADDRESS SECONDS QUESTIONS``.

A client that is cut off or refused comes back after a second, as Retry-After asks.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.client import Address, post

BATCH = "/v1/verify/batch"
BACK_SECONDS = 1.0
ITEMS = 10_000
FILES = 16_384

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[str]]


class Crowd:
    """``bodies`` are questions that match."""

    def __init__(self, bodies: list[bytes]) -> None:
        items = (bodies * (ITEMS // len(bodies) + 1))[:ITEMS]
        self._batch = post(BATCH, b'{"invoices":[%b]}' % b",".join(items))
        unknown = b",".join(b'"f%d":1' % field for field in range(2_000))
        self._unknown = post(BATCH, b'{"invoices":[%b]}' % b",".join([b"{%b}" % unknown] * 40))
        # How many clients there are of each kind, and what one does until it is cut off.
        self.kinds: dict[str, tuple[int, Client]] = {
            "unread batches": (100, self.unread),
            "unknown fields": (60, self.unknown),
            "trickled heads": (500, self.trickled_head),
            "trickled bodies": (100, self.trickled_body),
            "silent connections": (5_000, self.silent),
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
        """Send items of thousands of unknown fields, and again as soon as they are answered."""
        while True:
            writer.write(self._unknown)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                return head[:12].decode()
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            await reader.readexactly(length)

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


async def come_back(address: Address, client: Client, seen: Counter[str]) -> None:
    """Be that client again and again."""
    while True:
        try:
            reader, writer = await asyncio.open_connection(*address, limit=1_024)
            try:
                seen[await client(reader, writer) or "closed"] += 1
            finally:
                writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError):
            seen["cut off"] += 1
        await asyncio.sleep(BACK_SECONDS)


async def attack(crowd: Crowd, kind: str, address: Address, seconds: float) -> Counter[str]:
    """What the clients of a kind saw in so many seconds."""
    count, client = crowd.kinds[kind]
    seen: Counter[str] = Counter()
    crowded = [asyncio.create_task(come_back(address, client, seen)) for _ in range(count)]
    await asyncio.sleep(seconds)
    for each in crowded:
        each.cancel()
    await asyncio.gather(*crowded, return_exceptions=True)
    return seen


def main() -> None:
    """Write what they saw, as JSON."""
    kind, address, seconds, questions = sys.argv[1:]
    host, _, port = address.partition(":")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))
    crowd = Crowd(Path(questions).read_bytes().split())
    seen = asyncio.run(attack(crowd, kind, (host, int(port)), float(seconds)))
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
