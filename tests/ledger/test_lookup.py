"""Tests of look-ups over a real primary and real replicas, through all that can befall them."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from tests.ledger.support import blocks, config, connected, line, number, red_letter
from tests.support import Database, wait_replayed
from verifier.config import Config
from verifier.embedded import Cluster
from verifier.errors import ConfigError, Unavailable
from verifier.invoice.record import Finding, build
from verifier.ledger.invoices import LOOK_UP
from verifier.ledger.lookup import Lookup
from verifier.ledger.writer import Writer
from verifier.metrics import Metrics


class Ledger:
    """A look-up, its metrics, and a writer beside it."""

    def __init__(self, database: Database, **changes: Any) -> None:
        self.database = database
        self.metrics = Metrics()
        self.config = config(database, **changes)
        self.lookup = Lookup(self.config, self.metrics, time.time)
        self.writer = Writer(self.config)

    async def write(self, *lines: bytes) -> None:
        """Bring lines into the ledger, and wait until the replicas have them."""
        await self.writer.ingest(blocks(lines))
        await wait_replayed(self.database.primary_dsn, self.database.replica_dsns)

    def rechecks(self) -> dict[str, int]:
        """How many keys were re-checked on the primary, by outcome."""
        family = next(iter(self.metrics.rechecks.collect()))
        return {
            sample.labels["outcome"]: int(sample.value) for sample in family.samples if sample.value
        }

    def serving(self) -> list[bool]:
        """Whether each database serves: the primary, then the replicas."""
        return [each["serving"] for each in self.lookup.status()["databases"]]


@asynccontextmanager
async def started(database: Database, **changes: Any) -> AsyncIterator[Ledger]:
    """A look-up of which all databases serve, with dated states."""
    ledger = Ledger(database, **changes)
    await ledger.lookup.start()
    try:
        await until(lambda: all(ledger.serving()))
        await until(
            lambda: all(
                each["lag_bytes"] is not None for each in ledger.lookup.status()["databases"]
            )
        )
        yield ledger
    finally:
        await ledger.lookup.close()
        await ledger.writer.close()


async def until(condition: Callable[[], bool], within: float = 10.0) -> None:
    """Return when a condition holds that no event announces."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def replay_paused(database: Database) -> AsyncIterator[None]:
    """Have the replicas stand still."""
    async with (
        connected(database.replica_dsns[0]) as one,
        connected(database.replica_dsns[1]) as two,
    ):
        for replica in (one, two):
            await replica.execute("SELECT pg_wal_replay_pause()")
            state = "SELECT pg_get_wal_replay_pause_state()"
            async with asyncio.timeout(5):
                while await replica.fetchval(state) != "paused":  # noqa: ASYNC110 - no such event
                    await asyncio.sleep(0.005)
        try:
            yield
        finally:
            for replica in (one, two):
                await replica.execute("SELECT pg_wal_replay_resume()")


def found(findings: dict[str, Finding]) -> set[str]:
    """The keys with a record."""
    return {key for key, finding in findings.items() if finding.record is not None}


async def test_record_is_what_the_feed_said(ledger: Database) -> None:
    """A look-up on a replica gives the record that the line describes, links included."""
    async with started(ledger) as it:
        await it.write(line(1, seller_name='"名\\称"'), red_letter(2, 1))
        findings = await it.lookup.fetch_many([number(1), number(2)])
        common = ("100.00", "13.00", "113.00")
        names = ("91110108MA01ABCD12", '"名\\称"', "", "测试个人")
        assert findings[number(1)].record == build(
            number(1), "digital_ordinary", "2026-03-01", *common, "", *names, "normal", None,
            [number(2)],
        )  # fmt: skip
        red = findings[number(2)].record
        assert red is not None
        assert (red.amount, red.status) == ("-100.00", "red_letter")
        assert number(1).encode() in red.invoice
        assert {finding.reading.source for finding in findings.values()} == {"replica"}


async def test_absent_is_confirmed_by_the_primary(ledger: Database) -> None:
    """What no server has is absent by the primary's word; each key asked has a finding."""
    async with started(ledger) as it:
        await it.write(line(1))
        findings = await it.lookup.fetch_many([number(1), number(2), number(3)])
        assert sorted(findings) == [number(1), number(2), number(3)]
        assert found(findings) == {number(1)}
        assert findings[number(1)].reading.source == "replica"
        assert findings[number(2)].reading.source == "primary"
        assert it.rechecks() == {"absent": 2}


async def test_replica_that_lags_is_backed_by_the_primary(ledger: Database) -> None:
    """An invoice that has not reached the replica is found on the primary, with its reading."""
    async with started(ledger) as it:
        await it.write(line(1))
        async with replay_paused(ledger):
            await it.writer.ingest(blocks([line(2)]))
            findings = await it.lookup.fetch_many([number(1), number(2)])
            assert found(findings) == {number(1), number(2)}
            assert findings[number(2)].reading.source == "primary"
            assert it.rechecks() == {"found": 1}


async def test_full_bound_lets_a_fresh_replica_stand(ledger: Database) -> None:
    """While the primary's channels are taken, the word of a replica within the bound stands."""
    async with started(ledger) as it:
        await it.write(line(1))
        taken = [it.lookup._primary.free.pop() for _ in range(it.config.primary_connections)]
        findings = await it.lookup.fetch_many([number(1), number(2)])
        assert found(findings) == {number(1)}
        assert findings[number(2)].reading.source == "replica"
        assert it.rechecks() == {"trusted": 1}
        it.lookup._primary.free.extend(taken)


async def test_full_bound_leaves_out_what_a_stale_replica_lacks(ledger: Database) -> None:
    """What a replica beyond the bound lacks is not in the result: it could not be checked."""
    async with started(ledger, max_staleness=0.4) as it:
        await it.write(line(1))
        async with replay_paused(ledger):
            await it.writer.ingest(blocks([line(2)]))
            await asyncio.sleep(0.6)
            taken = [it.lookup._primary.free.pop() for _ in range(it.config.primary_connections)]
            # The primary would serve, but is busy; so have it out of the way for the choice.
            it.lookup._primary.serving = False
            findings = await it.lookup.fetch_many([number(1), number(2)])
            assert found(findings) == {number(1)}
            assert number(2) not in findings
            assert findings[number(1)].reading.as_of < time.time() - 0.4
            assert it.rechecks() == {"unchecked": 1}
            it.lookup._primary.free.extend(taken)


async def test_stale_replicas_give_way_to_the_primary(ledger: Database) -> None:
    """When no replica is within the bound, the primary reads; when one is again, it does."""
    async with started(ledger, max_staleness=0.4) as it:
        await it.write(line(1))
        async with replay_paused(ledger):
            await it.writer.ingest(blocks([line(1, status="voided")]))
            await asyncio.sleep(0.6)
            finding = (await it.lookup.fetch_many([number(1)]))[number(1)]
            assert finding.reading.source == "primary"
            assert finding.record is not None
            assert finding.record.status == "voided"
        await wait_replayed(ledger.primary_dsn, ledger.replica_dsns)
        await asyncio.sleep(0.2)
        finding = (await it.lookup.fetch_many([number(1)]))[number(1)]
        assert finding.reading.source == "replica"
        assert finding.record is not None
        assert finding.record.status == "voided"


async def test_without_replicas_the_primary_reads(ledger: Database) -> None:
    """A worker that has no replica asks the primary once, with all its look-up connections."""
    async with started(ledger, replica_dsns=()) as it:
        await it.write(line(1))
        assert it.lookup.slots == it.config.read_connections
        findings = await it.lookup.fetch_many([number(1), number(2)])
        assert found(findings) == {number(1)}
        assert {finding.reading.source for finding in findings.values()} == {"primary"}
        assert it.rechecks() == {}


async def test_fetch_primary_asks_nobody_else(ledger: Database) -> None:
    """A question that must see the newest state is answered by the primary alone."""
    async with started(ledger) as it:
        async with replay_paused(ledger):
            await it.writer.ingest(blocks([line(1)]))
            findings = await it.lookup.fetch_primary([number(1), number(2)])
        assert found(findings) == {number(1)}
        assert sorted(findings) == [number(1), number(2)]
        assert {finding.reading.source for finding in findings.values()} == {"primary"}


async def test_callers_share_the_channels_evenly(ledger: Database) -> None:
    """More callers than channels wait for each other, and both replicas take part."""
    async with started(ledger) as it:
        await it.write(*(line(n) for n in range(50)))
        keys = [number(n) for n in range(50)]
        results = await asyncio.gather(*(it.lookup.fetch_many(keys) for _ in range(10)))
        assert all(found(findings) == set(keys) for findings in results)
        readings = {id(finding.reading) for findings in results for finding in findings.values()}
        assert len(readings) >= 2
        assert all(not target.busy for target in it.lookup._targets)
        assert [len(target.free) for target in it.lookup._targets] == [2, 3, 3]


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
        (target,) = it.lookup._targets
        await until(lambda: len(target.free) == 3 and not target.busy)
        assert found(await it.lookup.fetch_many([number(1)])) == {number(1)}


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
                await it.lookup.fetch_primary([number(1)])
            await asyncio.sleep(0.01)
        assert not it.lookup.serving()
        late = Ledger(ledger, connect_timeout=0.1, query_timeout=0.1)
        await late.lookup.start()
        assert not late.lookup.serving()
        await asyncio.gather(*(server.start() for server in servers))
        for each in (it, late):
            await until(lambda each=each: all(each.serving()))  # type: ignore[misc]
            findings = await each.lookup.fetch_many([number(1), number(2)])
            assert found(findings) == {number(1)}
        await late.lookup.close()


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


async def test_date_is_never_newer_than_what_is_shown(ledger: Database) -> None:
    """Whatever was acknowledged before a finding's date shows in the finding."""
    async with started(ledger, probe_interval=0.02) as it, connected(ledger.replica_dsns[0]) as one:
        acknowledged: list[tuple[float, int]] = []
        await it.write(line(1))
        done = False

        async def write() -> None:
            for amount in range(1, 150):
                await it.writer.ingest(blocks([line(1, total=f"{amount}.00")]))
                acknowledged.append((time.time(), amount))

        async def stutter() -> None:
            while not done:
                await one.execute("SELECT pg_wal_replay_pause()")
                await asyncio.sleep(0.05)
                await one.execute("SELECT pg_wal_replay_resume()")
                await asyncio.sleep(0.05)

        sources: dict[str, int] = {}

        async def ask() -> None:
            while not done:
                finding = (await it.lookup.fetch_many([number(1)]))[number(1)]
                assert finding.record is not None
                as_of = finding.reading.as_of
                needed = max((amount for at, amount in acknowledged if at < as_of), default=0)
                assert float(finding.record.total) >= needed
                sources[finding.reading.source] = sources.get(finding.reading.source, 0) + 1
                await asyncio.sleep(0.001)

        others = [asyncio.create_task(work()) for work in (stutter, ask, ask)]
        await write()
        done = True
        await asyncio.gather(*others)
        assert sources["replica"] > 50


async def test_watermark_is_older_than_the_rows(ledger: Database) -> None:
    """A finding's watermark never promises an invoice that the read did not yet see."""
    async with started(ledger, probe_interval=0.02, max_staleness=60.0) as it:
        start = datetime(2026, 1, 1, tzinfo=UTC)
        last = 0
        done = False

        async def write() -> None:
            nonlocal last
            for n in range(1, 150):
                await it.writer.ingest(blocks([line(n)]))
                await it.writer.set_watermark("1100", start + timedelta(seconds=n))
                last = n

        promised = 0

        async def ask() -> None:
            nonlocal promised
            while not done:
                keys = [number(n) for n in range(max(1, last - 20), last + 20)]
                # On the replicas themselves: the primary's re-check would hide a wrong order.
                grant = it.lookup._take(None)
                if grant is None:
                    await asyncio.sleep(0.001)
                    continue
                target, channel = grant
                reading = target.reading
                assert reading is not None
                rows = await target.fetch(channel, keys, time.time() + 1)
                seen = {row[0] for row in rows}
                until_n = int(reading.watermarks.get("1100", 0.0) - start.timestamp())
                expected = {key for n, key in enumerate(keys, max(1, last - 20)) if n <= until_n}
                promised = max(promised, until_n)
                missing = {key for key in expected if key not in seen}
                assert not missing or min(missing) < keys[0]
                await asyncio.sleep(0.001)

        askers = [asyncio.create_task(ask()) for _ in range(2)]
        await write()
        done = True
        await asyncio.gather(*askers)
        assert promised > 10


async def test_replica_that_is_a_primary_does_not_serve(ledger: Database) -> None:
    """A DSN of a replica that leads to the primary is left out, and shown as what it is."""
    it = Ledger(ledger, replica_dsns=(ledger.primary_dsn, ledger.replica_dsns[0]))
    await it.lookup.start()
    await until(lambda: it.serving() == [True, False, True])
    shown = it.lookup.status()["databases"]
    assert [each["name"] for each in shown] == ["primary", "replica-1", "replica-2"]
    assert it.lookup._targets[1].reason == "not_a_replica"
    await it.lookup.close()


async def test_status_shows_lag_and_watermarks_without_secrets(ledger: Database) -> None:
    """The report has every region and database, and no DSN."""
    secret = [f"{dsn}&password=secret" for dsn in ledger.replica_dsns]
    async with started(ledger, replica_dsns=tuple(secret)) as it:
        await it.writer.set_watermark("3302", datetime(2026, 11, 23, 16, tzinfo=UTC))
        await wait_replayed(ledger.primary_dsn, ledger.replica_dsns)
        await asyncio.sleep(0.2)
        async with replay_paused(ledger):
            await it.writer.ingest(blocks(line(n) for n in range(100)))
            await asyncio.sleep(0.3)
            status = it.lookup.status()
        regions = {each["region"]: each for each in status["regions"]}
        assert len(regions) == 36
        assert regions["3302"] == {
            "region": "3302",
            "name": "宁波",
            "complete_until": "2026-11-23T16:00:00.000Z",
            "set": True,
        }
        assert not regions["1100"]["set"]
        databases = status["databases"]
        assert databases[0] == {
            "name": "primary",
            "role": "primary",
            "serving": True,
            "lag_bytes": 0,
            "lag_seconds": 0.0,
        }
        assert [each["role"] for each in databases[1:]] == ["replica", "replica"]
        assert all(each["lag_bytes"] > 1000 for each in databases[1:])
        assert all(0.1 < each["lag_seconds"] < 5 for each in databases[1:])
        assert "secret" not in str(status)


async def test_look_up_uses_the_index(ledger: Database) -> None:
    """The plan that every look-up uses finds rows by the index, however many keys there are."""
    async with connected(ledger.primary_dsn) as primary:
        await primary.execute("SET plan_cache_mode = force_generic_plan")
        await primary.execute(f"PREPARE look_up AS {LOOK_UP}")
        plan = await primary.fetch("EXPLAIN EXECUTE look_up(ARRAY['a', 'b'])")
        text = "\n".join(row[0] for row in plan)
        assert "invoice_pkey" in text
        assert "Seq Scan" not in text


async def test_reader_cannot_write(ledger: Database) -> None:
    """A look-up's connection refuses to write, whatever SQL it is given."""
    async with started(ledger, replica_dsns=()) as it:
        channel = it.lookup._primary.free[0]
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await channel.connection.execute("DELETE FROM invoice")


def test_primary_must_be_configured() -> None:
    """Without a primary, nothing dates the replicas."""
    with pytest.raises(ConfigError, match="VERIFIER_PRIMARY_DSN"):
        Lookup(Config(replica_dsns=("x",)), Metrics(), time.time)
