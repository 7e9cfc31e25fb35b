"""A database with the ledger's schema: one for the folder, emptied for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from tests.ledger.support import config
from tests.support import Database, connected, run, wait_replayed, writer_of
from verifier.database.migrate import migrate
from verifier.embedded import Cluster
from verifier.ledger.ingest.writer import Writer


async def execute(dsn: str, sql: str) -> None:
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
    run(execute(cluster.primary.dsn, f"CREATE DATABASE {name}"))
    run(wait_replayed(cluster.primary.dsn, [replica.dsn for replica in cluster.replicas]))
    run(migrate(database.primary_dsn))
    yield database
    run(execute(cluster.primary.dsn, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def ledger(shared_ledger: Database) -> Database:
    """Empty the ledger, on the replicas too."""
    await execute(
        shared_ledger.primary_dsn, "TRUNCATE invoice, listed_red_letter, region_watermark"
    )
    await execute(shared_ledger.primary_dsn, "TRUNCATE ledger_change")
    await wait_replayed(shared_ledger.primary_dsn, shared_ledger.replica_dsns)
    return shared_ledger


@pytest.fixture
async def writer(ledger: Database) -> AsyncIterator[Writer]:
    """Make a writer to the test's ledger."""
    writer = writer_of(config(ledger))
    yield writer
    await writer.close()


@pytest.fixture
async def primary(ledger: Database) -> AsyncIterator[asyncpg.Connection]:
    """Connect to the primary."""
    async with connected(ledger.primary_dsn) as connection:
        yield connection
