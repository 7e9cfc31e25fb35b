"""What is counted where questions are answered, and what of it reaches the tables."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import cast

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.access.tenants import Tenants, caller_of
from tests.support import Database, connected
from verifier.access.callers import Caller
from verifier.access.usage import Usage
from verifier.invoice.verdict import SHANGHAI, VERDICTS, VerdictName

NOON = datetime(2026, 11, 24, 12, tzinfo=SHANGHAI)
TODAY = NOON.date()


class Wall:
    """A clock that is set by hand."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self.now.timestamp()


class Tables:
    """Stands in for a connection: adds up what is written, as the statements do."""

    def __init__(self) -> None:
        self.questions: Counter[tuple[int, date, str, str]] = Counter()
        self.uses: list[tuple[int, datetime]] = []

    def is_in_transaction(self) -> bool:
        """Always."""
        return True

    async def execute(self, sql: str, *values: object) -> None:
        """Take in one of the three statements."""
        if "INTO usage" in sql:
            for *key, questions in zip(*values, strict=True):
                self.questions[tuple(key)] += questions
        elif "INTO access_key_use" in sql:
            self.uses += zip(*values, strict=True)


async def exchanged(usage: Usage, tables: Tables, *, committed: bool = True) -> None:
    """Do as the exchange does; an attempt that fails leaves no trace in the tables."""
    usage.collect()
    if committed:
        await usage.write(cast("asyncpg.Connection", tables))
        usage.written()


async def test_questions_are_told_apart_by_tenant_day_endpoint_and_verdict() -> None:
    """Two keys of a tenant are added up; others are not."""
    usage, tables = Usage(Wall(NOON)), Tables()
    verify, batch = usage.meter("verify"), usage.meter("batch")
    verify.of(caller_of(key=1, tenant=7))["match"] += 1
    verify.of(caller_of(key=2, tenant=7))["match"] += 1
    verify.of(caller_of(key=3, tenant=8))["match"] += 1
    batch.of(caller_of(key=3, tenant=8))["not_found"] += 500
    await exchanged(usage, tables)
    assert tables.questions == {
        (7, TODAY, "verify", "match"): 2,
        (8, TODAY, "verify", "match"): 1,
        (8, TODAY, "batch", "not_found"): 500,
    }


async def test_a_day_ends_at_midnight_in_shanghai() -> None:
    """A question counts for the day on which it was answered, whenever that is written."""
    wall = Wall(datetime(2026, 11, 24, 23, 59, 59, tzinfo=SHANGHAI))
    usage, tables, caller = Usage(wall), Tables(), caller_of()
    usage.meter("verify").of(caller)["match"] += 1
    wall.now += timedelta(seconds=1)
    usage.meter("verify").of(caller)["match"] += 1
    usage.meter("verify").of(caller)["match"] += 1
    wall.now += timedelta(hours=3)
    await exchanged(usage, tables)
    assert tables.questions == {
        (caller.tenant.id, TODAY, "verify", "match"): 1,
        (caller.tenant.id, TODAY + timedelta(days=1), "verify", "match"): 2,
    }


async def test_a_clock_that_is_set_back_is_believed() -> None:
    """A machine that began in the future does not count for that day for ever."""
    wall = Wall(NOON + timedelta(days=400))
    usage, tables, caller = Usage(wall), Tables(), caller_of()
    usage.meter("verify").of(caller)["match"] += 1
    await exchanged(usage, tables)
    wall.now = NOON
    usage.meter("verify").of(caller)["match"] += 1
    await exchanged(usage, tables)
    assert tables.questions[caller.tenant.id, TODAY, "verify", "match"] == 1


async def test_nobody_in_particular_is_not_written() -> None:
    """Without keys there is no tenant to count for."""
    usage, tables = Usage(Wall(NOON)), Tables()
    usage.meter("verify").of(None)["match"] += 1
    usage.note(None)
    await exchanged(usage, tables)
    assert (tables.questions, tables.uses) == ({}, [])


async def test_a_key_is_written_once_an_hour() -> None:
    """Its last use is known to the hour, by a question or by any other request."""
    wall = Wall(NOON + timedelta(minutes=1))
    usage, tables, caller = Usage(wall), Tables(), caller_of(key=5)
    for minutes in (0, 1, 57, 1, 30):
        wall.now += timedelta(minutes=minutes)
        usage.note(caller)
        usage.meter("verify").of(caller)["match"] += 1
        await exchanged(usage, tables)
    assert tables.uses == [(5, NOON), (5, NOON + timedelta(hours=1))]


async def test_there_is_news_until_it_is_written() -> None:
    """What an attempt that failed has left aside is news too; a key that is known is none."""
    usage, tables, caller = Usage(Wall(NOON)), Tables(), caller_of()
    assert not usage.has_news()
    usage.meter("verify").of(caller)["match"] += 1
    assert usage.has_news()
    await exchanged(usage, tables, committed=False)
    assert usage.has_news()
    await exchanged(usage, tables)
    assert not usage.has_news()
    usage.note(caller)
    assert not usage.has_news()


_CALLERS = [caller_of(key=key, tenant=key // 2) for key in range(4)]
_asked = st.tuples(st.sampled_from(_CALLERS), st.sampled_from(VERDICTS), st.integers(1, 1000))


@given(
    st.lists(
        st.one_of(
            _asked,
            st.sampled_from(["committed", "failed"]),
            st.integers(-3, 30).map(lambda hours: timedelta(hours=hours)),
        ),
        max_size=40,
    )
)
async def test_nothing_is_lost_or_counted_twice(
    steps: list[tuple[Caller, VerdictName, int] | str | timedelta],
) -> None:
    """Whatever is asked when, and whichever attempts fail, the tables have each question once."""
    wall = Wall(NOON)
    usage, tables = Usage(wall), Tables()
    meter = usage.meter("verify")
    expected: Counter[tuple[int, date, str, str]] = Counter()
    for step in steps:
        if isinstance(step, timedelta):
            wall.now += step
        elif isinstance(step, str):
            await exchanged(usage, tables, committed=step == "committed")
        else:
            caller, verdict, count = step
            meter.of(caller)[verdict] += count
            expected[caller.tenant.id, wall.now.date(), "verify", verdict] += count
    await exchanged(usage, tables)
    assert tables.questions == expected
    for caller in _CALLERS:
        hours = [hour for key, hour in tables.uses if key == caller.id]
        assert hours == sorted(set(hours))


@pytest.fixture
async def tenants(database: Database) -> Tenants:
    """Make two tenants with a key each."""
    return await Tenants.made(database, "acme", "other")


async def written(usage: Usage, connection: asyncpg.Connection) -> None:
    """Write what was counted in a transaction of its own."""
    usage.collect()
    async with connection.transaction():
        await usage.write(connection)
    usage.written()


async def test_what_is_written_is_added_to_what_is_there(tenants: Tenants) -> None:
    """Workers count apart, and the table has the sum; a key's last use is the latest."""
    acme = tenants.callers["acme"]
    async with connected(tenants.dsn) as connection:
        for questions, hours in ((2, 0), (3, 1), (4, -5)):
            worker = Usage(Wall(NOON + timedelta(hours=hours)))
            worker.meter("batch").of(acme)["mismatch"] += questions
            await written(worker, connection)
        assert list(map(tuple, await connection.fetch("SELECT * FROM usage"))) == [
            (acme.tenant.id, TODAY, "batch", "mismatch", 9)
        ]
        used_at = await connection.fetchval("SELECT used_at FROM access_key_use")
        assert used_at == (NOON + timedelta(hours=1)).astimezone(UTC)


async def test_tenants_that_a_failover_has_lost_hold_up_nobody(tenants: Tenants) -> None:
    """Their questions are nobody's, and those of others are written."""
    usage = Usage(Wall(NOON))
    usage.meter("verify").of(caller_of(key=98, tenant=99))["match"] += 1
    usage.meter("verify").of(tenants.callers["other"])["match"] += 1
    async with connected(tenants.dsn) as connection:
        await written(usage, connection)
        ((tenant, questions),) = await connection.fetch("SELECT tenant, questions FROM usage")
        assert (tenant, questions) == (tenants.callers["other"].tenant.id, 1)
        assert await connection.fetchval("SELECT count(*) FROM access_key_use") == 1
