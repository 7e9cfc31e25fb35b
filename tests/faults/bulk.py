"""Bulk that is under way while something befalls its worker: streams, and large batches."""

from __future__ import annotations

import asyncio
from time import monotonic

import msgspec

from tests.faults.items import Item, Result
from tests.faults.load import Load
from tests.faults.service import Service
from tests.faults.wire import request

# What a stream sends in a second, and how large the batches are.
LINES = 1_000
BATCH = 5_000


class Stream:
    """A stream that goes on until it is cut, and what came back."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.accepted = asyncio.Event()
        self.asked: list[tuple[Item, float]] = []
        self.results = 0
        # Its last line, if it came to that.
        self.summary = b""
        self.cut = 0.0

    async def run(self, port: int) -> None:
        """Ask line by line; each result is held against the oracle. Ends when it is cut.

        Refused on a busy machine, it comes again, as it is told to.
        """
        while not await self._attempt(port):
            self.asked.clear()
            await asyncio.sleep(0.05)

    async def _attempt(self, port: int) -> bool:
        """One stream to its end; False if the service refused it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST /v1/verify/stream HTTP/1.1\r\nHost: faults\r\n"
            b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        asking = asyncio.create_task(self._ask(writer))
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"HTTP/1.1 503"):
                return False
            self.accepted.set()
            while True:
                size = int(await reader.readline(), 16)
                block = await reader.readexactly(size + 2)
                for line in block[:-2].splitlines():
                    self._take(line)
        except (OSError, asyncio.IncompleteReadError, ValueError):
            self.cut = monotonic()
            return True
        finally:
            asking.cancel()
            await asyncio.wait({asking})
            writer.transport.abort()

    async def _ask(self, writer: asyncio.StreamWriter) -> None:
        steady = self._load.items.steady
        while True:
            lines = []
            for _ in range(LINES // 50):
                item = steady[len(self.asked) % len(steady)]
                lines.append(item.asking(len(self.asked)) + b"\n")
                self.asked.append((item, monotonic()))
            body = b"".join(lines)
            writer.write(b"%x\r\n%b\r\n" % (len(body), body))
            await writer.drain()
            await asyncio.sleep(0.02)

    def _take(self, line: bytes) -> None:
        if b'"complete":' in line:
            self.summary = line
            return
        result = msgspec.json.decode(line, type=Result)
        item, started = self.asked[self.results]
        if result.verdict != "invalid":
            assert result.reference == str(self.results)
        shown = item.shown(result)
        if shown != "unavailable":
            assert item.history.staleness(shown, started, monotonic()) is not None
        self.results += 1


async def large_batches(load: Load, port: int, stop: asyncio.Event) -> int:
    """One large batch after the other until told to stop; returns how many were cut.

    Each one either comes whole, with a result for each item in their order, or not at all, or it is
    refused.
    """
    cut = 0
    items = load.items.steady
    asked = [items[number % len(items)] for number in range(BATCH)]
    body = b",".join(item.asking(number) for number, item in enumerate(asked))
    data = request("POST", "/v1/verify/batch", b'{"invoices":[%b]}' % body)
    while not stop.is_set():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(data.replace(b"Host:", b"Connection: close\r\nHost:", 1))
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                answer = await reader.readexactly(length)
            finally:
                writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError):
            cut += 1
            await asyncio.sleep(0.05)
            continue
        if head.startswith(b"HTTP/1.1 503"):
            # On a busy machine. It comes again, as it is told to.
            await asyncio.sleep(0.05)
            continue
        results = msgspec.json.decode(answer, type=dict[str, msgspec.Raw])["results"]
        for item, result in zip(
            asked, msgspec.json.decode(results, type=list[Result]), strict=True
        ):
            assert item.shown(result) in ("unavailable", item.history.states[0].shown)
    return cut


class UnderWay:
    """Batches and streams, so many that each worker has some nearly all the time."""

    def __init__(self, load: Load, service: Service) -> None:
        count = range(2 * service.workers)
        self._stop = asyncio.Event()
        self._batches = [
            asyncio.create_task(large_batches(load, service.port, self._stop)) for _ in count
        ]
        self.streams = [Stream(load) for _ in count]
        self._running = [asyncio.create_task(each.run(service.port)) for each in self.streams]

    async def streams_accepted(self) -> None:
        """Return when each stream has been accepted, which a busy worker may refuse for a while."""
        for each in self.streams:
            await each.accepted.wait()

    async def streams_ended(self) -> None:
        """Return when each stream has come to its end by itself."""
        await asyncio.gather(*self._running)

    async def end(self) -> int:
        """Have all end; how many batches were cut."""
        self._stop.set()
        cut = sum(await asyncio.gather(*self._batches))
        for task in self._running:
            task.cancel()
        await asyncio.wait(self._running)
        for task in self._running:
            if not task.cancelled():
                task.result()
        return cut
