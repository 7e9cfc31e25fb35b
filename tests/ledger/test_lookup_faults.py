"""Tests of look-ups through what befalls databases, connections and callers."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from tests.ledger.support import Ledger, found, line, number, started, until
from tests.support import Database, connected, wait_replayed
from verifier.config import Config
from verifier.database.migrate import migrate
from verifier.embedded import Cluster
from verifier.errors import Unavailable
from verifier.ledger.lookup.channels import Rows
from verifier.state import Position


async def test_cancelled_caller_costs_its_channel_only(ledger: Database) -> None:
    """A caller that is cancelled in the middle loses the connection; it is replaced."""
    async with started(ledger, replica_dsns=(), query_timeout=5.0) as it:
        await it.write(line(1))
        async with connected(ledger.primary_dsn) as other, other.transaction():
            await other.execute("LOCK TABLE invoice IN ACCESS EXCLUSIVE MODE")
            callers = [asyncio.create_task(it.lookup.fetch_many([number(1)])) for _ in range(5)]
            await asyncio.sleep(0.05)
            for caller in callers:
                caller.cancel()
            for caller in callers:
                with pytest.raises(asyncio.CancelledError):
                    await caller
        (target,) = it.fleet.targets
        await until(
            lambda: len(target.free) == Config().databases.read_connections and not target.busy
        )
        assert found(await it.lookup.fetch_many([number(1)])) == {number(1)}


async def test_a_question_with_a_token_is_asked_once_more(
    ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that shows the position but fails is no reason to refuse: the primary has it."""

    async def cancelled(*_: object) -> Rows:
        raise Unavailable("recovery_conflict")

    async with started(ledger) as it:
        await it.write(line(1))
        primary, *replicas = it.fleet.targets
        reading = replicas[0].reading
        assert reading is not None
        assert reading.position is not None
        at_least = it.fleet.dating.resolve(reading.position)
        # Its own last look may be older than that of the replica.
        await until(lambda: primary.reading is not None and primary.reading.shows(at_least))
        for replica in replicas:
            monkeypatch.setattr(replica, "fetch", cancelled)
        findings = await it.lookup.fetch_at([number(1)], reading.position)
        assert found(findings) == {number(1)}
        assert findings[number(1)].reading.source == "primary"


async def test_late_query_is_ended(ledger: Database) -> None:
    """A query that is late ends within a probe interval of its bound, and is unavailable."""
    async with started(ledger, query_timeout=0.2) as it:
        await it.write(line(1))
        async with connected(ledger.primary_dsn) as other, other.transaction():
            await other.execute("LOCK TABLE invoice IN ACCESS EXCLUSIVE MODE")
            # The replicas must have replayed the lock.
            await other.execute("SELECT pg_logical_emit_message(false, 'flush', '', true)")
            await asyncio.sleep(0.3)
            start = time.monotonic()
            results = await asyncio.gather(
                *(it.lookup.fetch_many([number(1)]) for _ in range(4)), return_exceptions=True
            )
            took = time.monotonic() - start
        assert all(isinstance(result, Unavailable) for result in results)
        assert took < 0.2 + 0.05 + 0.15
        await until(lambda: all(it.serving()))
        assert found(await it.lookup.fetch_many([number(1)])) == {number(1)}


async def test_killed_replica_is_replaced_by_the_other(cluster: Cluster, ledger: Database) -> None:
    """While a replica dies under load every answer is right; it serves again once it is back."""
    async with started(ledger) as it:
        await it.write(*(line(n) for n in range(20)))
        keys = [number(n) for n in range(25)]
        done = False

        async def ask() -> int:
            count = 0
            while not done:
                findings = await it.lookup.fetch_many(keys)
                assert found(findings) == set(keys[:20])
                assert sorted(findings) == sorted(keys)
                count += 1
            return count

        askers = [asyncio.create_task(ask()) for _ in range(4)]
        await asyncio.sleep(0.1)
        cluster.replicas[0].kill(signal.SIGKILL)
        await cluster.replicas[0].wait()
        await asyncio.sleep(0.2)
        assert it.serving() == [True, False, True]
        await cluster.replicas[0].start()
        await until(lambda: it.serving() == [True, True, True])
        done = True
        assert min(await asyncio.gather(*askers)) > 5


async def test_frozen_replica_holds_nobody_up(cluster: Cluster, ledger: Database) -> None:
    """A frozen replica costs its callers at most the bound, and is left out until it thaws."""
    async with started(ledger, query_timeout=0.3, probe_interval=0.2) as it:
        await it.write(*(line(n) for n in range(20)))
        keys = [number(n) for n in range(20)]
        worst = 0.0
        done = False

        async def ask() -> None:
            nonlocal worst
            while not done:
                start = time.monotonic()
                assert found(await it.lookup.fetch_many(keys)) == set(keys)
                worst = max(worst, time.monotonic() - start)

        askers = [asyncio.create_task(ask()) for _ in range(4)]
        await asyncio.sleep(0.1)
        cluster.replicas[1].kill(signal.SIGSTOP)
        try:
            await until(lambda: it.serving() == [True, True, False])
            await asyncio.sleep(0.5)
        finally:
            cluster.replicas[1].kill(signal.SIGCONT)
        await until(lambda: it.serving() == [True, True, True])
        done = True
        await asyncio.gather(*askers)
        assert worst < 0.3 + 0.2 + 0.15


async def test_all_databases_down_is_never_absent(cluster: Cluster, ledger: Database) -> None:
    """With every database down each look-up is Unavailable; afterwards all serve by themselves."""
    async with started(ledger) as it:
        await it.write(line(1))
        servers = [cluster.primary, *cluster.replicas]
        for server in servers:
            server.kill(signal.SIGKILL)
        for server in servers:
            await server.wait()
        for _ in range(20):
            with pytest.raises(Unavailable):
                await it.lookup.fetch_many([number(1), number(2)])
            with pytest.raises(Unavailable):
                await it.lookup.fetch_at([number(1)], Position(1, 1))
            await asyncio.sleep(0.01)
        assert not it.fleet.serving()
        late = Ledger(ledger, connect_timeout=0.1, query_timeout=0.1)
        await late.fleet.start()
        assert not late.fleet.serving()
        await asyncio.gather(*(server.start() for server in servers))
        for each in (it, late):
            await until(lambda each=each: all(each.serving()))  # type: ignore[misc]
            findings = await each.lookup.fetch_many([number(1), number(2)])
            assert found(findings) == {number(1)}
        await late.fleet.close()


async def test_without_the_primary_the_date_stands_still(
    cluster: Cluster, ledger: Database
) -> None:
    """Without the primary, replicas answer with the date they had; absences stand while fresh."""
    async with started(ledger, max_staleness=1.0) as it:
        await it.write(line(1))
        cluster.primary.kill(signal.SIGKILL)
        await cluster.primary.wait()
        killed = time.time()
        try:
            findings = await it.lookup.fetch_many([number(1), number(2)])
            assert found(findings) == {number(1)}
            assert findings[number(2)].reading.source == "replica"
            await asyncio.sleep(1.3)
            findings = await it.lookup.fetch_many([number(1), number(2)])
            assert found(findings) == {number(1)}
            assert number(2) not in findings
            assert findings[number(1)].reading.as_of <= killed
        finally:
            await cluster.primary.start()
        await until(lambda: all(it.serving()))
        await wait_replayed(ledger.primary_dsn, ledger.replica_dsns)


async def test_database_that_gets_its_schema_later(blank: str) -> None:
    """A database without the ledger does not serve; once it is migrated it does, by itself."""
    it = Ledger(Database("postgres", blank, ()))
    await it.fleet.start()
    assert it.fleet.targets[0].reason == "no_schema"
    with pytest.raises(Unavailable, match="no_database"):
        await it.lookup.fetch_many([number(1)])
    await migrate(blank)
    await until(it.fleet.serving)
    assert found(await it.lookup.fetch_many([number(1)])) == set()
    await it.fleet.close()
