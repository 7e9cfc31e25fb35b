"""Fixtures of the whole suite: real PostgreSQL servers and a fresh database for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import asyncpg
import pytest

from tests.support import Database, connected, run, wait_replayed
from verifier.database.migrate import migrate
from verifier.embedded import Cluster

# Small, so that several clusters fit on a small machine beside the tests themselves.
SETTINGS = {"shared_buffers": "64MB", "max_wal_size": "512MB", "max_connections": "100"}

# Servers are killed here, but no machine loses power. The many databases that come and go cost
# little without the disk, and are not all read again after a kill.
_PASSING = {"fsync": "off", "checkpoint_timeout": "30s"}

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Run a primary and two streaming replicas; a test that kills one starts it again."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), replicas=2, settings=SETTINGS | _PASSING)
    run(cluster.start())
    yield cluster
    run(cluster.stop())


@pytest.fixture
def database(cluster: Cluster) -> Iterator[Database]:
    """Make an empty database for one test, and wait until both replicas have it."""
    name = f"test_{next(_numbers)}"
    database = Database(
        name=name,
        primary_dsn=cluster.primary.dsn_for(name),
        replica_dsns=tuple(replica.dsn_for(name) for replica in cluster.replicas),
    )
    replicas = [replica.dsn for replica in cluster.replicas]

    async def execute(sql: str) -> None:
        connection = await asyncpg.connect(cluster.primary.dsn)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    async def create() -> None:
        await execute(f"CREATE DATABASE {name} STRATEGY file_copy")
        await wait_replayed(cluster.primary.dsn, replicas)

    run(create())
    yield database
    run(execute(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def blank(cluster: Cluster) -> str:
    """Empty a database of the primary of everything, and return its DSN."""
    dsn = cluster.primary.dsn_for("postgres")
    async with connected(dsn) as connection:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return dsn


async def _execute(dsn: str, sql: str) -> None:
    """Run some SQL on a connection of its own."""
    async with connected(dsn) as connection:
        await connection.execute(sql)


@pytest.fixture(scope="session")
def shared_ledger(cluster: Cluster) -> Iterator[Database]:
    """Make a database and bring it up to date."""
    name = "ledger"
    database = Database(
        name=name,
        primary_dsn=cluster.primary.dsn_for(name),
        replica_dsns=tuple(replica.dsn_for(name) for replica in cluster.replicas),
    )
    run(_execute(cluster.primary.dsn, f"CREATE DATABASE {name} STRATEGY file_copy"))
    run(wait_replayed(cluster.primary.dsn, [replica.dsn for replica in cluster.replicas]))
    run(migrate(database.primary_dsn))
    yield database
    run(_execute(cluster.primary.dsn, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def ledger(shared_ledger: Database) -> Database:
    """Empty the ledger, on the replicas too."""
    await _execute(
        shared_ledger.primary_dsn, "TRUNCATE invoice, listed_red_letter, region_watermark"
    )
    await _execute(shared_ledger.primary_dsn, "TRUNCATE ledger_change")
    await wait_replayed(shared_ledger.primary_dsn, shared_ledger.replica_dsns)
    return shared_ledger
