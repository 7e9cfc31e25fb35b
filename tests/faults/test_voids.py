"""Scenario 18: invoices are voided and restored while they are being asked about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from time import monotonic

import asyncpg
import pytest

from tests.faults.ground import Ground
from tests.faults.items import Item
from tests.faults.scenario import Row, form, play
from tests.faults.service import Service
from verifier.invoice.identity import key_of

TIGHT = 0.5

# Seconds for which a transaction stays open after it has written.
OPEN = (0.05, 0.5)


@asynccontextmanager
async def slow_transactions(ground: Ground) -> AsyncIterator[None]:
    """Some transactions write early and commit late, so that changes commit out of order."""
    stop = asyncio.Event()

    async def write(items: Sequence[Item]) -> None:
        random = Random(items[0].name)
        connection = await asyncpg.connect(ground.cluster.primary.dsn)
        try:
            while not stop.is_set():
                item = random.choice(items)
                shown = ground.items.next_write(item).shown
                assert item.invoice is not None
                key = key_of(item.invoice.code, item.invoice.number)
                state = item.history.send(shown, monotonic())
                async with connection.transaction():
                    await connection.execute(SET_STATUS, key, item.invoice.status)
                    await asyncio.sleep(random.uniform(*OPEN))
                state.acknowledged = monotonic()
        finally:
            await connection.close()

    slow = ground.items.slow
    writing = [asyncio.create_task(write(slow[number::4])) for number in range(4)]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*writing)


SET_STATUS = "UPDATE invoice SET status = $2::text::invoice_status WHERE key = $1"


async def voids(name: str, ground: Ground, service: Service) -> Row:
    """Play the scenario; nothing has to recover."""
    size = form()
    seconds = size.questions / size.rates.questions
    row = await play(name, ground.load, service, slow_transactions(ground), seconds=seconds)
    # Memory gives many of the answers, or this would prove little.
    assert row.tally.sources["cache"] > row.tally.answered / 4
    row.recovered = None
    return row


async def test_voids_under_load(ground: Ground, service: Service, rows: list[Row]) -> None:
    """No answer is older than the bound, whatever memory holds."""
    rows.append(await voids("18 voids under load", ground, service))


@pytest.fixture
def tight(ground: Ground) -> Iterator[Service]:
    """Run a service with a bound of half a second."""
    with ground.service(max_staleness=TIGHT, probe_interval=0.1) as service:
        yield service


async def test_voids_under_load_with_a_tight_bound(
    ground: Ground, tight: Service, rows: list[Row]
) -> None:
    """The same with a bound of half a second."""
    ground.load.bound = TIGHT
    try:
        rows.append(await voids(f"18 voids under load, bound {TIGHT:g} s", ground, tight))
    finally:
        ground.load.bound = form().bound
