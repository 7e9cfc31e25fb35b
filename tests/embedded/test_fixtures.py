"""The fixtures that other folders build on."""

from __future__ import annotations

import asyncpg

from tests.support import Database, wait_replayed


async def test_database_is_replicated(database: Database) -> None:
    """What is written to the test's own database is read on both replicas after the wait."""
    primary = await asyncpg.connect(database.primary_dsn)
    await primary.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
    await primary.close()
    await wait_replayed(database.primary_dsn, database.replica_dsns)
    assert len(database.replica_dsns) == 2
    for dsn in database.replica_dsns:
        replica = await asyncpg.connect(dsn)
        assert await replica.fetchval("SELECT sum(n) FROM t") == 500500
        await replica.close()


async def test_database_is_fresh(database: Database) -> None:
    """The next test finds nothing of the one before."""
    primary = await asyncpg.connect(database.primary_dsn)
    assert await primary.fetchval("SELECT to_regclass('t')") is None
    await primary.close()
