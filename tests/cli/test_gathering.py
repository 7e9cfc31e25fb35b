"""Reporters and their gatherer, over real socket pairs, in one event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
import pytest

from tests.cli.support import until
from verifier.cli.gathering import Gatherer
from verifier.cli.reporting import Reporter
from verifier.config import Config
from verifier.errors import Unavailable

# Seconds that a gathering waits for a worker in these tests.
WAIT = 0.2
QUIET = Config.of(report_interval=60.0, scrape_wait=WAIT).numbers


@asynccontextmanager
async def gathering() -> AsyncIterator[Gatherer]:
    """A gatherer, closed at the end."""
    gatherer = Gatherer(WAIT)
    try:
        yield gatherer
    finally:
        await gatherer.close()


def matches(text: bytes) -> float:
    """How many matches of single questions a text tells."""
    line = 'verifier_answers_total{endpoint="verify",verdict="match"} '
    found = [each for each in text.decode().splitlines() if each.startswith(line)]
    return sum(float(each.removeprefix(line)) for each in found)


def age(text: bytes, worker: int) -> float | None:
    """How old a text says that a worker's numbers are."""
    line = f'verifier_worker_report_age_seconds{{worker="{worker}"}} '
    for each in text.decode().splitlines():
        if each.startswith(line):
            return float(each.removeprefix(line))
    return None


async def until_known(gatherer: Gatherer, *workers: int) -> None:
    """Return when exactly these workers are known by a report, and have not ended."""
    async with asyncio.timeout(5):
        while True:
            text = await gatherer.text()
            if [worker for worker in range(3) if age(text, worker) is not None] == [*workers]:
                return
            await asyncio.sleep(0.01)


async def test_each_worker_shows_what_all_count_now() -> None:
    """Every worker and the gatherer show the same sum, of what was counted up to the scrape."""
    async with gathering() as gatherer, AsyncExitStack() as stack:
        reporters = [
            await stack.enter_async_context(Reporter(gatherer.attach(slot), QUIET))
            for slot in range(3)
        ]
        await until_known(gatherer, 0, 1, 2)
        for expected in (3, 6):
            for reporter in reporters:
                reporter.metrics.answers.add("verify", "match")
            shown = [await reporter.text() for reporter in reporters]
            assert [matches(text) for text in (*shown, await gatherer.text())] == [expected] * 4


async def test_scrapes_at_once_share_gatherings() -> None:
    """Fifty scrapes at once cost two gatherings, and each shows what was counted before it."""
    async with (
        gathering() as gatherer,
        Reporter(gatherer.attach(0), QUIET) as reporter,
    ):
        await until_known(gatherer, 0)
        before = gatherer._gathered
        running = asyncio.create_task(gatherer.text())
        await until(lambda: gatherer._gathered == before + 1)
        reporter.metrics.answers.add("verify", "match")
        texts = await asyncio.gather(*(gatherer.text() for _ in range(50)))
        await running
        assert gatherer._gathered == before + 2
        assert {matches(text) for text in texts} == {1.0}


async def test_what_an_ended_worker_counted_stays() -> None:
    """A worker that closes reports a last time, and its successor in the slot adds to that."""
    async with gathering() as gatherer:
        for round_ in (1, 2):
            async with Reporter(gatherer.attach(0), QUIET) as reporter:
                await until_known(gatherer, 0)
                reporter.metrics.answers.add("verify", "match", count=5)
            await until_known(gatherer)
            text = await gatherer.text()
            assert matches(text) == 5.0 * round_
            # What it showed of a moment is gone with it.
            assert b"verifier_ledger_trusted{" not in text


async def test_a_death_in_the_middle_of_a_report() -> None:
    """Half a report is no report: the one before it counts."""
    async with gathering() as gatherer:
        with gatherer.attach(0) as worker:
            async with Reporter(worker.dup(), QUIET) as reporter:
                reporter.metrics.answers.add("verify", "match", count=5)
                await until_known(gatherer, 0)
            worker.sendall((1000).to_bytes(4) + b"half")
        await until_known(gatherer)
        assert matches(await gatherer.text()) == 5.0


async def test_a_silent_worker_is_shown_as_it_was() -> None:
    """A worker that does not answer holds a scrape up by the bound, and its age is shown."""
    clock = asyncio.get_running_loop().time
    async with gathering() as gatherer, Reporter(gatherer.attach(1), QUIET) as other:
        with gatherer.attach(0) as frozen:
            frozen.setblocking(False)
            frozen.sendall(report(7))
            other.metrics.answers.add("verify", "match")
            await until_known(gatherer, 0, 1)
            ages: list[tuple[float, float]] = []
            for _ in range(3):
                began = clock()
                text = await other.text()
                assert clock() - began < 2 * WAIT + 0.5
                assert matches(text) == 8.0
                ages.append((age(text, 0) or 0.0, age(text, 1) or 0.0))
            assert all(silent > heard for silent, heard in ages)
            assert ages[2][0] - ages[0][0] >= 2 * WAIT
            # However many scrapes, one question waits in its socket.
            assert len(frozen.recv(1000)) == len(ask(1))


def report(matched: int) -> bytes:
    """A report, in bytes, of so many matches."""
    samples = [("verifier_answers_total", {"endpoint": "verify", "verdict": "match"}, matched)]
    packed = msgspec.msgpack.encode([0, [["verifier_answers", "counter", "", samples]], 0, 0])
    return len(packed).to_bytes(4) + packed


def ask(number: int) -> bytes:
    """The question for a report, in bytes."""
    packed = msgspec.msgpack.encode([2, number])
    return len(packed).to_bytes(4) + packed


async def test_no_supervisor_is_no_answer() -> None:
    """A worker whose supervisor is silent says so within its bound, not its own numbers."""
    ours, theirs = socket.socketpair()
    with ours:
        async with Reporter(theirs, QUIET) as reporter, asyncio.timeout(5 * WAIT):
            with pytest.raises(Unavailable, match="no_supervisor"):
                await reporter.text()


async def test_an_answer_for_one_who_gave_up() -> None:
    """An answer that comes in the very moment in which its scrape is given up hurts no other."""
    ours, theirs = socket.socketpair()
    with ours:
        async with Reporter(theirs, QUIET) as reporter:
            given_up = asyncio.create_task(reporter.text())
            await until(lambda: reporter._waiting)
            (future,) = reporter._waiting.values()
            # As a timeout does it: the scrape itself is told in the loop's next turn.
            asyncio.get_running_loop().call_soon(future.cancel)
            reporter._channel._reader.feed_data(shown(1))
            await asyncio.wait({given_up})
            other = asyncio.create_task(reporter.text())
            await until(lambda: reporter._waiting)
            ours.sendall(shown(2))
            assert await other == b""


def shown(number: int) -> bytes:
    """The answer to a scrape, in bytes."""
    packed = msgspec.msgpack.encode([3, number, b""])
    return len(packed).to_bytes(4) + packed


async def test_what_nobody_reads_is_not_kept() -> None:
    """A supervisor that does not read gets no more reports and scrapes than its socket holds."""
    ours, theirs = socket.socketpair()
    eager = Config.of(report_interval=0.1, scrape_wait=0.01).numbers
    with ours:
        async with Reporter(theirs, eager) as reporter:
            reporter._interval = 0.0
            await until(lambda: reporter._channel._writer.transport.get_write_buffer_size() > 0)
            await asyncio.sleep(0.2)
            full = reporter._channel._writer.transport.get_write_buffer_size()
            for _ in range(5):
                with pytest.raises(Unavailable):
                    await reporter.text()
            assert reporter._channel._writer.transport.get_write_buffer_size() == full < 256 * 1024


def gauge(text: bytes, name: str, worker: int) -> float:
    """What a gauge of a worker shows."""
    line = f'{name}{{worker="{worker}"}} '
    (found,) = [each for each in text.decode().splitlines() if each.startswith(line)]
    return float(found.removeprefix(line))


async def test_a_worker_and_its_successor() -> None:
    """What both count is added up; what there is now, is what the successor has."""
    async with gathering() as gatherer, AsyncExitStack() as stack:
        old = Reporter(gatherer.attach(0), QUIET)
        old.metrics.connections.set_function(lambda: 5)
        async with old:
            await until_known(gatherer, 0)
            new = await stack.enter_async_context(Reporter(gatherer.attach(0), QUIET))
            new.metrics.connections.set_function(lambda: 2)
            old.metrics.answers.add("verify", "match")
            new.metrics.answers.add("verify", "match")
            async with asyncio.timeout(5):
                while matches(text := await gatherer.text()) < 2:
                    await asyncio.sleep(0.01)
            assert gauge(text, "verifier_connections", 0) == 2
        await until(lambda: len(gatherer._links) == 1)
        text = await gatherer.text()
        assert matches(text) == 2
        assert gauge(text, "verifier_connections", 0) == 2
