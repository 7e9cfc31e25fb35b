"""What befalls the workers themselves: killed in the middle, frozen, all restarted at peak."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import msgspec

from tests.faults.ground import Ground
from tests.faults.items import Item, Result
from tests.faults.load import Load
from tests.faults.scenario import Row, play
from tests.faults.service import Service
from tests.faults.wire import request

# What a stream sends in a second, and how large the batches are that are under way.
LINES = 1_000
BATCH = 5_000


class Stream:
    """A stream that goes on until it is cut, and what came back."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.asked: list[tuple[Item, float]] = []
        self.results = 0
        self.complete = False
        self.cut = 0.0

    async def run(self, port: int) -> None:
        """Ask line by line; each result is held against the oracle. Ends when it is cut."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST /v1/verify/stream HTTP/1.1\r\nHost: faults\r\n"
            b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        asking = asyncio.create_task(self._ask(writer))
        try:
            await reader.readuntil(b"\r\n\r\n")
            while True:
                size = int(await reader.readline(), 16)
                block = await reader.readexactly(size + 2)
                for line in block[:-2].splitlines():
                    self._take(line)
        except (OSError, asyncio.IncompleteReadError, ValueError):
            self.cut = monotonic()
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
            self.complete = True
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

    Each one either comes whole, with a result for each item in their order, or not at all.
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
        results = msgspec.json.decode(answer, type=dict[str, msgspec.Raw])["results"]
        for item, result in zip(
            asked, msgspec.json.decode(results, type=list[Result]), strict=True
        ):
            assert item.shown(result) in ("unavailable", item.history.states[0].shown)
    return cut


@asynccontextmanager
async def workers_killed(load: Load, service: Service) -> AsyncIterator[None]:
    """Each worker is killed in its turn, in the middle of a stream and of large batches."""
    stop = asyncio.Event()
    # So many that each worker has some under way nearly all the time.
    batches = [
        asyncio.create_task(large_batches(load, service.port, stop))
        for _ in range(2 * service.workers)
    ]
    streams = [Stream(load) for _ in range(2 * service.workers)]
    running = [asyncio.create_task(stream.run(service.port)) for stream in streams]
    before = service.pids()
    try:
        await asyncio.sleep(0.5)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
            await service.replaced([pid])
        yield
    finally:
        stop.set()
        cut = sum(await asyncio.gather(*batches))
        for task in running:
            task.cancel()
        await asyncio.wait(running)
    assert not set(before) & set(service.pids())
    assert cut > 0
    for stream, task in zip(streams, running, strict=True):
        if not task.cancelled():
            task.result()
        # Whoever is cut off knows it, and has got a part of the results in their order.
        assert stream.cut
        assert not stream.complete
        assert 0 < stream.results <= len(stream.asked)


@asynccontextmanager
async def worker_frozen(service: Service) -> AsyncIterator[None]:
    """One worker stands still, with whatever it was about to say."""
    pid = service.pids()[0]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def all_restarted(service: Service) -> AsyncIterator[None]:
    """All workers die at once; the fault is over when all of them accept connections again."""
    before = service.pids()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    yield
    await service.replaced(before)
    assert not set(before) & set(service.pids())


async def test_workers_are_killed(ground: Ground, service: Service, rows: list[Row]) -> None:
    """Scenario 11: a worker dies in the middle of a batch and of a stream, then the next one."""
    fault = workers_killed(ground.load, service)
    rows.append(await play("11 worker killed", ground.load, service, fault, seconds=0.5, cuts=True))


async def test_a_worker_is_frozen(ground: Ground, service: Service, rows: list[Row]) -> None:
    """Scenario 12: a worker stands still; what it says afterwards is no older than the bound."""
    fault = worker_frozen(service)
    seconds = 2.5 * ground.load.bound
    rows.append(await play("12 worker frozen", ground.load, service, fault, seconds=seconds))


async def test_all_workers_restart_at_peak(
    ground: Ground, service: Service, rows: list[Row]
) -> None:
    """Scenario 16: all workers start with an empty memory under the full load."""
    fault = all_restarted(service)
    rows.append(
        await play("16 cold cache at peak", ground.load, service, fault, seconds=0.0, cuts=True)
    )
