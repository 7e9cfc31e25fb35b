"""Tests of the watch over a database: what it keeps up, what it says, and when."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest
from structlog.testing import capture_logs

from tests.ledger.support import HeardChanges, line, number, started, until
from tests.support import Database, connected
from verifier.clocks import system_clocks
from verifier.config import ChangeLog, Databases
from verifier.embedded import Cluster
from verifier.ledger.lookup.dating import POSITIONS
from verifier.ledger.lookup.fleet import Fleet
from verifier.ledger.lookup.probes import Prober
from verifier.metrics import Metrics

OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def serving(metrics: Metrics) -> dict[str, float]:
    """What the gauge of serving databases shows, by name."""
    family = next(iter(metrics.target_serving.collect()))
    return {sample.labels["target"]: sample.value for sample in family.samples}


def test_a_minute_of_positions_is_remembered() -> None:
    """At the default interval; a replica that is further behind is of no use."""
    assert POSITIONS * Databases().probe_interval == 60.0


async def test_one_lost_channel_is_replaced(ledger: Database) -> None:
    """Also while the others serve: a database keeps all its look-up connections."""
    async with started(ledger, replica_dsns=(), read_connections=3) as it:
        (target,) = it.fleet.targets
        lost = target.free[0]
        lost.connection.terminate()
        await until(lambda: lost not in target.free and len(target.free) == 3)


async def test_at_rest_a_database_is_asked_once_an_interval(
    ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all channels open there is nothing that brings the next probe forward."""
    count = 0
    ask = Prober.probe

    async def counted(self: Prober, now: float) -> object:
        nonlocal count
        count += 1
        return await ask(self, now)

    async with started(ledger, replica_dsns=(), probe_interval=0.1):
        monkeypatch.setattr(Prober, "probe", counted)
        begun = time.monotonic()
        await until(lambda: count >= 5)
        assert time.monotonic() - begun >= 0.3


async def test_what_was_found_holds_while_the_connection_stands(ledger: Database) -> None:
    """Looks that hear of no change renew the state of what was found before."""
    async with started(ledger, replica_dsns=()) as it:
        await it.write(line(1))
        reading = (await it.lookup.fetch_many([number(1)]))[number(1)].reading
        await until(lambda: reading.current is not reading)
        assert reading.current is not None
        assert reading.current.as_of > reading.as_of


async def test_what_was_found_over_a_lost_connection_holds_no_more(ledger: Database) -> None:
    """Its server may have been replaced in between, and give out the same numbers again."""
    async with started(ledger, replica_dsns=()) as it:
        await it.write(line(1))
        before = (await it.lookup.fetch_many([number(1)]))[number(1)].reading
        async with connected(ledger.primary_dsn) as other:
            await other.execute(OTHERS)
        await until(lambda: it.serving() == [False])
        await until(lambda: it.serving() == [True])
        after = (await it.lookup.fetch_many([number(1)]))[number(1)].reading
        assert before.current is None
        assert after.current is not None


async def test_a_database_that_stops_serving_is_told_at_once(
    cluster: Cluster, ledger: Database
) -> None:
    """The gauge shows it without a probe that succeeds, and shows when it is back."""
    async with started(ledger) as it:
        await until(lambda: serving(it.metrics) == {"primary": 1, "replica-1": 1, "replica-2": 1})
        cluster.replicas[0].kill(signal.SIGKILL)
        await cluster.replicas[0].wait()
        await until(lambda: serving(it.metrics)["replica-1"] == 0)
        await cluster.replicas[0].start()
        await until(lambda: serving(it.metrics)["replica-1"] == 1)


async def test_the_start_waits_no_longer_than_for_the_first_word(ledger: Database) -> None:
    """A look-up is ready when a database can answer, long before its bound on starting."""
    begun = time.monotonic()
    async with started(ledger, replica_dsns=(), connect_timeout=20.0):
        assert time.monotonic() - begun < 10.0


async def test_a_database_that_stays_away_is_logged_once() -> None:
    """A line for the reason, and none for each further try."""
    config = Databases(primary_dsn="postgresql://127.0.0.1:1/none", probe_interval=0.01)
    with capture_logs() as logs:
        fleet = Fleet(
            config, ChangeLog(), Metrics(), system_clocks(), HeardChanges(), lambda begun: begun
        )
        fleet._watches[0].start()
        await until(lambda: fleet.primary.reason == "no_database")
        await asyncio.sleep(0.1)
        await fleet.close()
    assert [each["reason"] for each in logs] == ["no_database"]
