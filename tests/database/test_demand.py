"""How many connections workers take, and servers that admit fewer (B13)."""

from __future__ import annotations

import asyncio
import socket

import pytest
from structlog.testing import capture_logs

from tests.ledger.support import blocks, config, line, number, started
from tests.support import Database, connected
from verifier.config import Config
from verifier.database import demand

_TAKEN = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'verifier-%'
"""


@pytest.mark.parametrize(
    ("workers", "primary", "alone", "replica"),
    [(1, 2 * 7 + 12, 2 * 9 + 12, 2 * 5 + 12), (45, 46 * 7 + 12, 46 * 9 + 12, 46 * 5 + 12)],
)
def test_each_worker_takes_its_look_ups_its_writers_and_one_to_watch(
    workers: int, primary: int, alone: int, replica: int
) -> None:
    """Workers, and one that is being replaced, take what Config allows; the sum is shown."""
    given = Config()
    assert (
        demand.of_primary(
            given.databases, given.ingest, workers, alone=False, keyed=False
        ).connections
        == primary
    )
    assert (
        demand.of_primary(
            given.databases, given.ingest, workers, alone=True, keyed=False
        ).connections
        == alone
    )
    counting = demand.of_primary(given.databases, given.ingest, workers, alone=True, keyed=True)
    assert counting.connections == alone + workers + 1
    assert "+ 4 writing + 1 counting + 1 watching" in counting.sum
    assert demand.of_replica(given.databases, workers).connections == replica
    shown = demand.of_replica(given.databases, 45).sum
    assert shown == "(45 workers + 1 being replaced) × (4 look-ups + 1 watching) + 12 spare = 242"


async def warn(given: Config, workers: int) -> None:
    """Warn of servers that admit too few."""
    await demand.warn(given.databases, given.ingest, workers, keyed=False)


async def test_a_worker_takes_no_more_than_that(ledger: Database) -> None:
    """Under more look-ups and ingests than it has connections for, a worker keeps to its share."""
    # One worker's share is what a second one adds.
    async with started(ledger, write_connections=3) as it:
        given = it.config
        async with asyncio.timeout(30):
            await asyncio.gather(
                *(it.writer.ingest(blocks([line(n)])) for n in range(12)),
                *(it.lookup.fetch_many([number(n)]) for n in range(it.fleet.slots)),
            )
        for dsn, one, two in (
            (
                ledger.primary_dsn,
                demand.of_primary(given.databases, given.ingest, 1, alone=False, keyed=False),
                demand.of_primary(given.databases, given.ingest, 2, alone=False, keyed=False),
            ),
            (
                ledger.replica_dsns[0],
                demand.of_replica(given.databases, 1),
                demand.of_replica(given.databases, 2),
            ),
        ):
            async with connected(dsn) as connection:
                taken = await connection.fetchval(_TAKEN)
            assert taken == two.connections - one.connections


async def test_a_server_that_admits_too_few_is_warned_of(ledger: Database) -> None:
    """A server that admits fewer connections than the workers take is named, with the sum."""
    with capture_logs() as logs:
        await warn(config(ledger), 2)
    assert logs == []
    with capture_logs() as logs:
        await warn(config(ledger), 45)
    assert sorted(each["database"] for each in logs) == ["primary", "replica-1", "replica-2"]
    assert {each["admitted"] for each in logs} == {97}
    assert demand.of_replica(config(ledger).databases, 45).sum in [each["needed"] for each in logs]


async def test_a_server_that_cannot_be_asked_is_left_to_the_workers(ledger: Database) -> None:
    """A server that is down, or does not answer, delays the start by a bound and fails nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        down = (f"postgresql://x@127.0.0.1:{port}/x", "postgresql://x@127.0.0.1:1/x")
        given = config(ledger, replica_dsns=down, connect_timeout=0.3)
        with capture_logs() as logs:
            async with asyncio.timeout(3):
                await warn(given, 2)
    assert logs == []
