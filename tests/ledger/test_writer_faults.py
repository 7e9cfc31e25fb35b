"""Tests of ingests that break off, collide, or meet a primary that cannot be written."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.ledger.support import (
    blocks,
    config,
    counts,
    line,
    status_line,
)
from tests.support import Database, wait_replayed, writer_of
from verifier.embedded import Cluster
from verifier.errors import Unavailable
from verifier.ledger.ingest.writer import Writer


async def test_failing_source_leaves_nothing(writer: Writer, primary: asyncpg.Connection) -> None:
    """When the lines break off, nothing of them is in the ledger, and the next ingest runs."""

    async def cut() -> AsyncIterator[bytes]:
        async for block in blocks(line(n) for n in range(22_000)):
            yield block
        raise ConnectionResetError("the client went away")

    for _ in range(5):
        with pytest.raises(ConnectionResetError):
            await writer.ingest(cut())
    assert await primary.fetchval("SELECT count(*) FROM invoice") == 0
    assert counts(await writer.ingest(blocks([line(1)]))) == (1, 0, 0)


async def test_cancelled_ingest_leaves_nothing(writer: Writer, primary: asyncpg.Connection) -> None:
    """An ingest that is cancelled in the middle is rolled back and gives its connection up."""
    reached = asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        async for block in blocks(line(n) for n in range(12_000)):
            yield block
        reached.set()
        await asyncio.Event().wait()

    for _ in range(5):
        reached.clear()
        ingest = asyncio.create_task(writer.ingest(stalling()))
        await reached.wait()
        ingest.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ingest
    assert await primary.fetchval("SELECT count(*) FROM invoice") == 0
    assert counts(await writer.ingest(blocks([line(1)]))) == (1, 0, 0)


async def test_slow_ingest_is_bounded(ledger: Database) -> None:
    """An ingest that does not end within its bound is given up."""
    writer = writer_of(config(ledger, write_timeout=0.2))

    async def endless() -> AsyncIterator[bytes]:
        yield line(1)
        await asyncio.Event().wait()

    with pytest.raises(Unavailable, match="timeout"):
        await writer.ingest(endless())
    await writer.close()


async def test_ingests_beyond_the_connections_are_refused(ledger: Database) -> None:
    """While all connections are taken, further ingests wait for a bounded time."""
    writer = writer_of(config(ledger, write_connections=1, connect_timeout=0.2))
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def long() -> AsyncIterator[bytes]:
        async for block in blocks(line(n) for n in range(12_000)):
            yield block
        reached.set()
        await go_on.wait()

    ingest = asyncio.create_task(writer.ingest(long()))
    await reached.wait()
    with pytest.raises(Unavailable, match="overloaded"):
        await writer.set_status(blocks([status_line(1, "voided")]))
    go_on.set()
    assert (await ingest).accepted == 12_000
    await writer.close()


async def test_overlapping_ingests_of_new_invoices_both_succeed(ledger: Database) -> None:
    """Ingests that bring the same new invoices at the same time do not fail each other."""
    writer = writer_of(config(ledger))
    lines = [line(n) for n in range(300)]
    results = await asyncio.gather(
        writer.ingest(blocks(lines)),
        writer.ingest(blocks(reversed(lines))),
        writer.ingest(blocks(lines[100:])),
    )
    assert sum(result.accepted for result in results) == 300
    assert sum(result.unchanged for result in results) == 500
    await writer.close()


async def test_acknowledged_ingest_survives_a_crash(
    cluster: Cluster, ledger: Database, writer: Writer
) -> None:
    """What was acknowledged is there after the primary was killed; the writer reconnects."""
    await writer.ingest(blocks(line(n) for n in range(1000)))
    cluster.primary.kill(signal.SIGKILL)
    await cluster.primary.wait()
    with pytest.raises(Unavailable, match="no_database"):
        await writer.ingest(blocks([line(1)]))
    await cluster.primary.start()
    result = await writer.ingest(blocks(line(n) for n in range(1001)))
    assert counts(result) == (1, 1000, 0)
    await wait_replayed(ledger.primary_dsn, ledger.replica_dsns)


async def test_primary_that_became_read_only(ledger: Database, primary: asyncpg.Connection) -> None:
    """A primary that refuses to write (SQLSTATE 25006) is unavailable until it writes again."""
    writer = writer_of(config(ledger))
    name = ledger.name
    await primary.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    try:
        with pytest.raises(Unavailable, match="read_only"):
            await writer.ingest(blocks([line(1)]))
    finally:
        await primary.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    assert counts(await writer.ingest(blocks([line(1)]))) == (1, 0, 0)
    await writer.close()


async def test_replica_is_no_primary(ledger: Database) -> None:
    """A DSN that leads to a replica is unavailable for writing."""
    writer = writer_of(config(ledger, primary_dsn=ledger.replica_dsns[0]))
    with pytest.raises(Unavailable, match="read_only"):
        await writer.ingest(blocks([line(1)]))
    await writer.close()


async def test_database_without_schema(database: Database) -> None:
    """A database that was not migrated is unavailable, and says why."""
    writer = writer_of(config(database))
    with pytest.raises(Unavailable, match="no_schema"):
        await writer.ingest(blocks([line(1)]))
    await writer.close()
