"""What befalls the change log: a transaction that stays open, and pruning at the worst moments."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from tests.faults.ground import Ground, ended
from tests.faults.scenario import FULL, Row, form, play
from tests.faults.service import Service
from tests.faults.test_voids import slow_transactions
from tests.support import writer_of
from verifier.config import Config

COMMITS = """
DO $$
BEGIN
    FOR i IN 1..{count} LOOP
        INSERT INTO ledger_change (keys) VALUES (array['{key}']);
        COMMIT;
    END LOOP;
END
$$
"""


@asynccontextmanager
async def held_open(ground: Ground) -> AsyncIterator[None]:
    """A transaction is idle in another database, and many commit behind it."""
    count = 200_000 if form() is FULL else 20_000
    primary = ground.cluster.primary
    idle = await asyncpg.connect(primary.dsn_for("postgres"))
    writer = await asyncpg.connect(primary.dsn)
    try:
        async with idle.transaction():
            await idle.fetchval("SELECT pg_current_xact_id()")
            await writer.execute("SET synchronous_commit = off")
            await writer.execute(COMMITS.format(count=count, key="26110000000000000000"))
            yield
    finally:
        await idle.close()
        await writer.close()


@asynccontextmanager
async def pruned_at_once(ground: Ground) -> AsyncIterator[None]:
    """Whatever has ended is pruned within milliseconds, long before all followers look."""
    writer = writer_of(Config.of(primary_dsn=ground.cluster.primary.dsn))

    async def prune() -> None:
        while True:
            await writer.prune(0.0)
            await asyncio.sleep(0.01)

    pruning = asyncio.create_task(prune())
    try:
        async with slow_transactions(ground):
            yield
    finally:
        await ended(pruning)
        await writer.close()


async def test_a_transaction_stays_open(ground: Ground, service: Service, rows: list[Row]) -> None:
    """Following the log behind it costs what is new, and all databases go on serving (B9)."""
    rows.append(await play("20 idle transaction held", ground.load, service, held_open(ground)))


async def test_changes_are_pruned_unseen(ground: Ground, service: Service, rows: list[Row]) -> None:
    """Who may have missed something notices, and believes its memory no more (A5)."""
    fault = pruned_at_once(ground)
    rows.append(await play("21 changes pruned unseen", ground.load, service, fault))
