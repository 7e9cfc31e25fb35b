"""The exchange with a real primary: nothing is counted twice, whatever becomes of a COMMIT."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal, cast
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.access.tenants import caller_of
from tests.ledger.support import config, until
from tests.support import Database, connected
from verifier.access import exchange
from verifier.access.exchange import Exchange, Part, primary_of
from verifier.access.usage import Usage
from verifier.database.migrate import migrate
from verifier.database.primary import Primary
from verifier.database.timelines import Timelines
from verifier.database.transactions import Transaction
from verifier.errors import Unavailable
from verifier.metrics import Metrics
from verifier.state import Position

Fate = Literal["written", "away", "undone", "unheard", "refused", "cut"]
FATES: tuple[Fate, ...] = ("written", "away", "undone", "unheard", "refused")


class Adding:
    """A part that adds to one number; it can have the database refuse that."""

    def __init__(self, number: int = 1) -> None:
        self._number = number
        self.counted = self.aside = 0
        self.refused = False

    def has_news(self) -> bool:
        """Whether there is anything to add."""
        return bool(self.counted or self.aside)

    def collect(self) -> None:
        """Set it aside."""
        self.aside += self.counted
        self.counted = 0

    async def write(self, connection: asyncpg.Connection) -> None:
        """Add it."""
        await connection.execute(
            "INSERT INTO added (number, n) VALUES ($1, $2) "
            "ON CONFLICT (number) DO UPDATE SET n = added.n + excluded.n",
            self._number,
            self.aside,
        )
        if self.refused:
            await connection.execute("SELECT FROM nothing_of_this_name(1)")

    def written(self) -> None:
        """It is there."""
        self.aside = 0


class Fateful:
    """A primary of which a test says what becomes of the next transaction."""

    def __init__(self, primary: Primary) -> None:
        self._primary = primary
        self.fate: Fate = "written"
        self.transactions = 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """One of the primary's, if it is not away."""
        if self.fate == "away":
            raise Unavailable("no_database")
        self.transactions += 1
        async with self._primary.transaction() as transaction:
            yield transaction

    async def commit(self, transaction: Transaction) -> Position:
        """COMMIT, or not, and perhaps the answer is lost."""
        if self.fate == "undone":
            raise Unavailable("no_database")
        if self.fate == "cut":
            asyncio.get_running_loop().call_later(0.1, transaction.connection.terminate)
        position = await self._primary.commit(transaction)
        if self.fate == "unheard":
            raise Unavailable("timeout")
        return position


class Bench:
    """An exchange of one part, over a primary whose faults are at hand."""

    def __init__(self, database: Database, part: Part | None = None, **times: float) -> None:
        given = config(database)
        self.real = primary_of(given.databases, given.ingest, Timelines())
        self.primary = Fateful(self.real)
        self.part = Adding()
        self.metrics = Metrics()
        self.worker = uuid4()
        self.misses = 0
        self.exchange = Exchange(
            cast("Primary", self.primary),
            (part or self.part,),
            self.miss,
            self.metrics,
            self.worker,
            lambda: 0.5,
            **{"interval": 60.0, "longest": 60.0} | times,
        )

    def miss(self) -> None:
        """Hear that an exchange has failed."""
        self.misses += 1

    async def count(self, n: int, fate: Fate = "written") -> None:
        """Count so many, and exchange."""
        self.part.counted += n
        self.primary.fate = fate
        self.part.refused = fate == "refused"
        await self.exchange.exchange()

    def outcomes(self) -> dict[str, float]:
        """How often each outcome was counted."""
        (family,) = self.metrics.exchanges.collect()
        return {sample.labels["outcome"]: sample.value for sample in family.samples}


@pytest.fixture
async def database_(database: Database) -> Database:
    """Make a database with the number that parts add to."""
    await migrate(database.primary_dsn)
    async with connected(database.primary_dsn) as connection:
        await connection.execute("CREATE TABLE added (number int PRIMARY KEY, n bigint NOT NULL)")
    return database


@pytest.fixture
async def bench(database_: Database) -> AsyncIterator[Bench]:
    """Give an exchange of one part."""
    bench = Bench(database_)
    yield bench
    await bench.exchange.close()
    await bench.real.close()


async def total(database: Database, sql: str = "SELECT coalesce(sum(n), 0) FROM added") -> Any:
    """What the table says."""
    async with connected(database.primary_dsn) as connection:
        return await connection.fetchval(sql)


async def test_without_news_there_is_no_transaction(bench: Bench) -> None:
    """An idle worker costs the primary nothing."""
    await bench.count(0)
    assert bench.primary.transactions == 0
    assert bench.outcomes() == {}


@pytest.mark.parametrize("fate", FATES)
async def test_each_is_counted_once(bench: Bench, database_: Database, fate: Fate) -> None:
    """Whatever becomes of an attempt, the next one makes it good, and does not do it again."""
    await bench.count(5, fate)
    await bench.count(7)
    assert await total(database_) == 12


async def test_a_commit_that_was_not_heard_of_is_looked_up_without_news(bench: Bench) -> None:
    """Until somebody has looked, what is aside may be there or not."""
    await bench.count(5, "unheard")
    assert bench.part.aside == 5
    await bench.count(0)
    assert bench.part.aside == 0


def test_faults_in_any_order_change_no_sum(database: Database) -> None:
    """After any sequence of them, the table has what was counted."""
    with asyncio.Runner() as runner:
        runner.run(migrate(database.primary_dsn))

        async def play(steps: list[tuple[int, Fate]]) -> None:
            async with connected(database.primary_dsn) as connection:
                await connection.execute(
                    "DROP TABLE IF EXISTS added; "
                    "CREATE TABLE added (number int PRIMARY KEY, n bigint NOT NULL)"
                )
            bench = Bench(database)
            for n, fate in steps:
                await bench.count(n, fate)
            await bench.count(1)
            await bench.real.close()
            assert await total(database) == 1 + sum(n for n, _ in steps)

        @settings(max_examples=20, deadline=None)
        @given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(FATES)), max_size=6))
        def check(steps: list[tuple[int, Fate]]) -> None:
            runner.run(play(steps))

        check()


async def test_a_commit_that_is_still_under_way_is_waited_for(database_: Database) -> None:
    """The server may commit after the connection is gone and the next attempt has begun."""
    async with connected(database_.primary_dsn) as connection:
        await connection.execute(
            "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN PERFORM pg_sleep(0.4); RETURN NULL; END';"
            "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON added DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION slowly()"
        )
    bench = Bench(database_)
    await bench.count(5, "cut")
    assert await total(database_) == 0
    await bench.count(7)
    assert await total(database_) == 12
    assert bench.outcomes() == {"no_database": 1, "written": 1}
    await bench.real.close()


async def test_workers_who_write_the_same_rows_do_not_fail(database: Database) -> None:
    """Each has counted the same in another order, and they write at once, again and again."""
    await migrate(database.primary_dsn)
    async with connected(database.primary_dsn) as connection:
        await connection.execute(
            "INSERT INTO tenant (name) SELECT 't' || n FROM generate_series(1, 100) AS n;"
            "INSERT INTO access_key (tenant, name, mode, digest, scopes) "
            "SELECT id, 'key', 'live', sha256(name::bytea), '{verify}' FROM tenant"
        )
        rows = await connection.fetch("SELECT id, tenant FROM access_key ORDER BY id")
    callers = [caller_of(row["id"], row["tenant"]) for row in rows]
    wall = [time.time()]
    usages = [Usage(lambda: wall[0]) for _ in range(3)]
    benches = [Bench(database, usage) for usage in usages]
    for _ in range(10):
        wall[0] += 3600
        for shift, usage in enumerate(usages):
            for caller in callers[shift * 30 :] + callers[: shift * 30]:
                usage.meter("verify").of(caller)["match"] += 1
        await asyncio.gather(*(bench.exchange.exchange() for bench in benches))
    for bench in benches:
        await bench.real.close()
        assert bench.outcomes() == {"written": 10}
    assert await total(database, "SELECT sum(questions)::bigint FROM usage") == 10 * 3 * 100


async def test_failures_are_counted_and_told_once(bench: Bench) -> None:
    """One line says that it fails, and one that it works again."""
    with capture_logs() as logs:
        await bench.count(1, "away")
        await bench.count(1, "away")
        await bench.count(1, "refused")
        await bench.count(1)
        await bench.count(1)
    assert [(each["event"], each.get("failures")) for each in logs] == [
        ("counts are not exchanged", None),
        ("exchanging again", 3),
    ]
    assert bench.outcomes() == {"no_database": 2, "refused": 1, "written": 2}


async def test_workers_that_are_gone_leave_no_rows(bench: Bench, database_: Database) -> None:
    """After a day without a word; those of whom there was one stay."""
    async with connected(database_.primary_dsn) as connection:
        await connection.execute(
            "INSERT INTO access_worker SELECT gen_random_uuid(), 1, now() - hours * interval '1h' "
            "FROM unnest('{1, 23, 25, 100}'::int[]) AS hours"
        )
    await bench.count(1)
    assert await total(database_, "SELECT count(*) FROM access_worker") == 3
    workers: list[UUID] = await total(database_, "SELECT array_agg(worker) FROM access_worker")
    assert bench.worker in workers


async def test_it_goes_on_by_itself_until_it_is_closed(database_: Database) -> None:
    """At its intervals, and once more at the end, when nothing has to wait for the next one."""
    bench = Bench(database_, interval=0.05)
    bench.exchange.start()
    for n in (1, 2):
        bench.part.counted += 1
        await until(lambda: not bench.part.has_news())
        assert await total(database_) == n
    await bench.exchange.close()
    patient = Bench(database_)
    patient.exchange.start()
    patient.part.counted = 10
    await patient.exchange.close()
    assert await total(database_) == 12
    for each in (bench, patient):
        await each.real.close()


async def test_the_last_exchange_has_a_bound(
    database_: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A primary that does not answer does not keep the process, and the loss is told."""
    monkeypatch.setattr(exchange, "_LAST", 0.1)
    bench = Bench(database_)
    async with connected(database_.primary_dsn) as connection, connection.transaction():
        await connection.execute("LOCK TABLE access_worker")
        bench.exchange.start()
        bench.part.counted = 1
        with capture_logs() as logs:
            async with asyncio.timeout(2):
                await bench.exchange.close()
    assert [each["event"] for each in logs] == ["what was counted last may be lost"]
    await bench.real.close()


async def test_an_exchange_takes_one_connection(bench: Bench) -> None:
    """Whoever reads over it meanwhile waits for a turn (database/demand.py has the sum)."""
    async with bench.real.transaction():
        with pytest.raises(Unavailable, match="overloaded"):
            async with bench.real.transaction():
                pass
