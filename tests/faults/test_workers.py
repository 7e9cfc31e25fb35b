"""What befalls the workers themselves: killed in the middle, frozen, all restarted at peak."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.faults.bulk import UnderWay
from tests.faults.ground import Ground
from tests.faults.load import Load
from tests.faults.scenario import Row, play
from tests.faults.service import Service


@asynccontextmanager
async def workers_killed(load: Load, service: Service) -> AsyncIterator[None]:
    """Each worker is killed in its turn, in the middle of a stream and of large batches."""
    bulk = UnderWay(load, service)
    before = service.pids()
    try:
        await asyncio.sleep(0.5)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
            await service.replaced([pid])
        yield
    finally:
        cut = await bulk.end()
    assert not set(before) & set(service.pids())
    assert cut > 0
    for stream in bulk.streams:
        # Whoever is cut off knows it, and has got a part of the results in their order.
        assert stream.cut
        assert not stream.summary
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
