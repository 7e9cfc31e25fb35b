"""Tests of what findings say about the age of the state that they rest on."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from tests.ledger.support import (
    Ledger,
    blocks,
    give_back,
    line,
    number,
    replay_paused,
    started,
    until,
)
from tests.support import Database, connected, wait_replayed
from verifier.ledger.lookup.status import DatabaseStatus, RegionStatus
from verifier.ledger.lookup.targets import Target
from verifier.wire.records import Record


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
                assert isinstance(finding, Record)
                as_of = finding.reading.as_of
                needed = max((amount for at, amount in acknowledged if at < as_of), default=0)
                assert float(finding.total) >= needed
                sources[finding.reading.source] = sources.get(finding.reading.source, 0) + 1
                await asyncio.sleep(0.001)

        others = [asyncio.create_task(work()) for work in (stutter, ask, ask)]
        await write()
        done = True
        await asyncio.gather(*others)
        assert sources["replica"] > 50


async def test_watermark_is_older_than_the_rows(ledger: Database) -> None:
    """A finding's watermark never promises an invoice that the same read did not see."""
    async with started(ledger, probe_interval=0.02, max_staleness=60.0) as it:
        start = datetime(2026, 1, 1, tzinfo=UTC)
        # The primary's word would hide what a replica gets wrong.
        taken = [it.fleet.primary.take() for _ in range(it.config.databases.primary_connections)]
        last = 0
        promised = 0
        done = False

        async def write() -> None:
            nonlocal last
            for n in range(1, 150):
                await it.writer.ingest(blocks([line(n)]))
                await it.writer.set_watermark("1100", start + timedelta(seconds=n))
                last = n

        async def ask() -> None:
            nonlocal promised
            while not done:
                numbers = range(max(1, last - 20), last + 20)
                findings = await it.lookup.fetch_many([number(n) for n in numbers])
                for n in numbers:
                    finding = findings[number(n)]
                    complete = finding.reading.watermarks.get("1100", 0.0) - start.timestamp()
                    assert isinstance(finding, Record) or n > complete
                    promised = max(promised, int(complete))
                await asyncio.sleep(0.001)

        askers = [asyncio.create_task(ask()) for _ in range(2)]
        await write()
        done = True
        await asyncio.gather(*askers)
        assert promised > 10
        give_back(it, taken)


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
            status = it.fleet.status()
        regions = {each.region: each for each in status.regions}
        assert len(regions) == 36
        moment = datetime(2026, 11, 23, 16, tzinfo=UTC).timestamp()
        assert regions["3302"] == RegionStatus("3302", "宁波", moment, stated=True)
        assert not regions["1100"].stated
        primary, *replicas = status.databases
        assert primary == DatabaseStatus("primary", "primary", True, 0, 0.0)
        for each in replicas:
            assert each.role == "replica"
            assert each.lag_bytes is not None
            assert each.lag_bytes > 1000
            assert each.lag_seconds is not None
            assert 0.1 < each.lag_seconds < 5
        assert "secret" not in str(status)


async def test_replica_that_is_a_primary_does_not_serve(ledger: Database) -> None:
    """A DSN of a replica that leads to the primary is left out, and shown as what it is."""
    it = Ledger(ledger, replica_dsns=(ledger.primary_dsn, ledger.replica_dsns[0]))
    await it.fleet.start()
    await until(lambda: it.serving() == [True, False, True])
    shown = it.fleet.status().databases
    assert [each.name for each in shown] == ["primary", "replica-1", "replica-2"]
    assert it.fleet.targets[1].reason == "not_a_replica"
    await it.fleet.close()


async def test_reading_is_that_of_before_the_query(
    ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe that comes in during a query does not date its rows, wherever they are read."""
    async with started(ledger) as it:
        await it.write(line(1))
        before = {}

        def interrupt(target: Target) -> None:
            fetch = target.fetch

            async def interrupted(*arguments: Any) -> Any:
                before[target.role] = target.reading
                rows = await fetch(*arguments)
                assert target.reading is not None
                target.reading = msgspec.structs.replace(target.reading, as_of=time.time() + 9)
                return rows

            monkeypatch.setattr(target, "fetch", interrupted)

        for target in it.fleet.targets:
            interrupt(target)
        findings = await it.lookup.fetch_many([number(1), number(2)])
        assert findings[number(1)].reading is before["replica"]
        assert findings[number(2)].reading is before["primary"]
