"""A scenario: load on a service, a fault for a while, and what came of it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import monotonic
from typing import Any

import msgspec

from tests.faults.load import Load, Rates
from tests.faults.service import Service
from tests.faults.tally import Tally

# The promise: so many seconds after a fault has ended, everything is answered rightly again.
RECOVERY = 5.0


class Form(msgspec.Struct, frozen=True):
    """How large a run is. Times in seconds."""

    questions: int
    rates: Rates
    # The load alone, the fault, and without trouble afterwards until it counts as recovered.
    before: float
    seconds: float
    quiet: float
    workers: int
    rows: int
    settings: dict[str, Any]

    @property
    def bound(self) -> float:
        """The staleness bound that the service is told, or its default."""
        bound: float = self.settings.get("max_staleness", 2.0)
        return bound


# Short faults show as much when the bound is short too.
SHORT = Form(
    questions=700,
    rates=Rates(singles=150, batches=15, batch=20, writes=40),
    before=0.3,
    seconds=1.6,
    quiet=0.7,
    workers=2,
    rows=1_000,
    settings={"max_staleness": 1.0, "probe_interval": 0.1},
)
FULL = Form(
    questions=20_000,
    rates=Rates(singles=400, batches=40, batch=30, writes=60),
    before=2.0,
    seconds=6.0,
    quiet=1.0,
    workers=3,
    rows=3_000,
    settings={},
)


def form() -> Form:
    """The form that was asked for: FAULTS=full, or the short one."""
    return FULL if os.environ.get("FAULTS") == "full" else SHORT


class Row(msgspec.Struct):
    """A line of the report; ``recovered`` is in seconds, None where nothing has to recover."""

    scenario: str
    tally: Tally
    recovered: float | None


@asynccontextmanager
async def under(load: Load, service: Service) -> AsyncIterator[None]:
    """Run the load against a service, in a thread of its own, while the block runs."""
    stop = threading.Event()
    load.writing = True
    running = asyncio.create_task(asyncio.to_thread(load.run, service.port, stop.is_set))
    try:
        yield
    finally:
        stop.set()
        await running


async def play(
    name: str,
    load: Load,
    service: Service,
    fault: AbstractAsyncContextManager[None] | None = None,
    *,
    seconds: float | None = None,
    cuts: bool = False,
    patience: float = 120.0,
) -> Row:
    """Play a scenario, hold it to what is promised, and return its line of the report.

    The fault lasts while its block does; without one the load runs alone. ``cuts`` says that the
    fault breaks the callers' own connections, ``patience`` how many seconds all may take.
    """
    size = form()
    recovered: float | None = None
    async with asyncio.timeout(patience), under(load, service):
        await recovery(load.begin(), monotonic(), 0.3)
        tally = load.begin()
        await asyncio.sleep(size.before)
        if fault is not None:
            async with fault:
                await asyncio.sleep(size.seconds if seconds is None else seconds)
            recovered = await recovery(tally, monotonic(), size.quiet)
        while tally.asked < size.questions:
            await asyncio.sleep(0.05)
        load.begin()
        while tally.open:
            await asyncio.sleep(0.01)
    row = Row(name, tally, recovered)
    check(row, load, cuts=cuts)
    return row


async def recovery(tally: Tally, ended: float, quiet: float, patience: float = 20.0) -> float:
    """Seconds from the end of a fault to the last trouble, once there has been none for a while."""
    async with asyncio.timeout(patience):
        while monotonic() < max(tally.last_trouble, ended) + quiet:
            await asyncio.sleep(0.02)
    return max(0.0, tally.last_trouble - ended)


def check(row: Row, load: Load, *, cuts: bool) -> None:
    """Hold a scenario to what is promised."""
    tally = row.tally
    said = "\n".join((row.scenario, *tally.examples, repr(tally)))
    assert tally.wrong == 0, said
    assert tally.misplaced == 0, said
    assert tally.hung == 0, said
    assert cuts or tally.cut == 0, said
    assert tally.stalest <= load.bound, said
    assert row.recovered is None or row.recovered <= RECOVERY, said
    # A scenario in which nothing was answered, or nothing changed, would prove nothing.
    assert tally.answered > tally.asked / 10, said
    assert tally.written > 0, said
