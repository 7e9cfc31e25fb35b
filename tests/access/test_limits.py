"""Limits over a real database: what workers tell each other there, and what each makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from tests.ledger.support import config
from tests.support import Database, connected
from verifier.access.exchange import Exchange, primary_of
from verifier.access.limits import Shares
from verifier.access.rates import Rate
from verifier.access.sharing import KEPT, STALE, Share
from verifier.database.migrate import migrate
from verifier.database.timelines import Timelines
from verifier.metrics import Metrics

# Full again after a tenth of a second: what is in a bucket is what its worker has of the burst.
LIMIT = Rate(8_000.0, 800.0)
# What is asked for in a second to have more than the limit.
MUCH = 24_000
SUBJECT = "t1"
# What a worker that nobody asks keeps of an even part.
CERTAIN = 0.75
COST = 10


class Worker:
    """One that shares limits over a database; it exchanges when it is told to."""

    def __init__(self, database: Database, time: list[float]) -> None:
        given = config(database)
        self.id = uuid4()
        self.shares = Shares(self.id, lambda: time[0])
        self._time = time
        self.primary = primary_of(given.databases, given.ingest, Timelines())
        self._exchange = Exchange(
            self.primary,
            (self.shares,),
            self.shares.missed,
            Metrics(),
            self.id,
            lambda: 0.5,
            interval=60.0,
            longest=60.0,
        )

    def share(self) -> Share:
        """Its share of the limit."""
        share = self.shares.share(SUBJECT, LIMIT)
        assert share is not None
        return share

    def holds(self) -> int:
        """How many units of the burst are its part, when it has not been asked for a while."""
        return self.share().remaining(self._time[0] + 0.5)

    def asked(self, units: int) -> None:
        """Be asked for units, a few at a time."""
        share, now = self.share(), self._time[0]
        for _ in range(units // COST):
            share.take(COST, now)

    async def exchange(self) -> None:
        """Tell and hear; it must succeed."""
        await self._exchange.exchange()
        assert not self._exchange._failures


class Crowd:
    """Workers over one database, whose steady clock a test moves."""

    def __init__(self, database: Database, stack: AsyncExitStack) -> None:
        self.database = database
        self.time = [1_000.0]
        self._stack = stack

    def worker(self) -> Worker:
        """One more, which has the limit."""
        worker = Worker(self.database, self.time)
        self._stack.push_async_callback(worker.primary.close)
        worker.share()
        return worker

    async def seconds(self, count: int, *asked: tuple[Worker, int]) -> None:
        """Let seconds pass in each of which workers are asked for units, and exchange."""
        for _ in range(count):
            self.time[0] += 1.0
            for worker, units in asked:
                worker.asked(units)
            for worker, _units in asked:
                await worker.exchange()

    async def sql(self, sql: str, *arguments: object) -> Any:
        """What the database says."""
        async with connected(self.database.primary_dsn) as connection:
            return await connection.fetchval(sql, *arguments)


@asynccontextmanager
async def crowd_of(database: Database) -> AsyncIterator[Crowd]:
    """A crowd over a database that is brought up to date."""
    await migrate(database.primary_dsn)
    async with AsyncExitStack() as stack:
        yield Crowd(database, stack)


@pytest.fixture
async def crowd(database: Database) -> AsyncIterator[Crowd]:
    """Give a crowd of nobody yet."""
    async with crowd_of(database) as crowd:
        yield crowd


async def test_what_one_is_asked_the_others_hear(crowd: Crowd) -> None:
    """The one that a client asks gets the whole limit, and the others keep what is certain."""
    busy, idle = crowd.worker(), crowd.worker()
    await crowd.seconds(5, (busy, MUCH), (idle, 0))
    assert (busy.holds(), idle.holds()) == (800, 800 * CERTAIN / 2)


async def test_an_even_crowd_gets_even_parts(crowd: Crowd) -> None:
    """Workers that are asked for more than there is divide it."""
    workers = [crowd.worker() for _ in range(4)]
    await crowd.seconds(5, *((worker, MUCH) for worker in workers))
    assert [worker.holds() for worker in workers] == [200] * 4


async def test_workers_that_exchanged_lately_are_counted(crowd: Crowd) -> None:
    """Those that nobody asks too; one of whom nothing was heard for a while is not."""
    workers = [crowd.worker() for _ in range(3)]
    first, last = workers[0], workers[-1]
    await crowd.seconds(2, *((worker, 0) for worker in workers))
    assert first.holds() == 266
    await crowd.sql(
        "UPDATE access_worker SET at = at - $2 * interval '1s' WHERE worker = $1 RETURNING 1",
        last.id,
        STALE + 0.1,
    )
    await crowd.seconds(1, (first, 0))
    assert first.holds() == 400


async def test_a_new_limit_begins_with_an_even_part(crowd: Crowd) -> None:
    """A worker that has heard of others does not hold all of a limit that it hears of later."""
    workers = [crowd.worker() for _ in range(4)]
    await crowd.seconds(2, *((worker, 0) for worker in workers))
    share = workers[0].shares.share("k7", LIMIT)
    assert share is not None
    assert share.remaining(crowd.time[0]) == 200


async def test_a_report_of_the_past_is_not_heard(crowd: Crowd) -> None:
    """What was asked of a worker that died does not hold its part for ever."""
    one, other = crowd.worker(), crowd.worker()
    await crowd.seconds(5, (one, MUCH), (other, MUCH))
    assert one.holds() == 400
    await crowd.sql(
        "UPDATE limit_demand SET at = at - $2 * interval '1s' WHERE worker = $1 RETURNING 1",
        other.id,
        STALE + 0.1,
    )
    await crowd.seconds(1, (one, MUCH))
    assert one.holds() == 800


async def test_when_nobody_asks_any_more_that_is_heard_at_once(crowd: Crowd) -> None:
    """By the next exchange, and not when the last report is of the past."""
    one, other = crowd.worker(), crowd.worker()
    await crowd.seconds(5, (one, MUCH), (other, MUCH))
    await crowd.seconds(1, (other, 0), (one, MUCH))
    assert one.holds() == 800


async def test_that_nobody_asks_is_told_once(crowd: Crowd) -> None:
    """An idle limit costs no more rows."""
    worker = crowd.worker()
    await crowd.seconds(1, (worker, COST))
    await crowd.seconds(1, (worker, 0))
    await crowd.sql("DELETE FROM limit_demand RETURNING 1")
    await crowd.seconds(1, (worker, 0))
    assert await crowd.sql("SELECT count(*) FROM limit_demand") == 0


async def test_limits_are_apart(crowd: Crowd) -> None:
    """What is asked of one says nothing about another."""
    busy, idle = crowd.worker(), crowd.worker()
    for worker in (busy, idle):
        worker.shares.share("k7", LIMIT)
    await crowd.seconds(5, (busy, MUCH), (idle, 0))
    share = busy.shares.share("k7", LIMIT)
    assert share is not None
    assert share.remaining(crowd.time[0]) == 400


async def test_only_what_was_asked_is_told(crowd: Crowd) -> None:
    """A limit that nobody asks for costs no row."""
    worker = crowd.worker()
    worker.shares.share("k7", LIMIT)
    await crowd.seconds(1, (worker, 20))
    told = await crowd.sql("SELECT array_agg(subject || ' ' || demand) FROM limit_demand")
    assert told == [f"{SUBJECT} 20"]


async def test_a_worker_without_limits_exchanges_nothing(crowd: Crowd) -> None:
    """Nor does one whose last limit was taken away."""
    worker = crowd.worker()
    worker.shares.share(SUBJECT, None)
    assert not worker.shares.has_news()
    await worker.exchange()
    assert await crowd.sql("SELECT count(*) FROM access_worker") == 0


async def test_rows_of_workers_that_are_gone_are_removed(crowd: Crowd) -> None:
    """A minute later, by whoever exchanges; younger ones stay."""
    workers = [crowd.worker() for _ in range(3)]
    for worker, ago in zip(workers, (61, 59, 0), strict=True):
        await crowd.seconds(1, (worker, COST))
        await crowd.sql(
            "UPDATE limit_demand SET at = at - $2 * interval '1s' WHERE worker = $1 RETURNING 1",
            worker.id,
            ago,
        )
    await workers[2].exchange()
    left = await crowd.sql("SELECT array_agg(worker ORDER BY at) FROM limit_demand")
    assert left == [workers[1].id, workers[2].id]


async def test_nobody_waits_to_remove_what_another_removes(crowd: Crowd) -> None:
    """Rows that are locked are left to who has them."""
    gone, worker = crowd.worker(), crowd.worker()
    await crowd.seconds(1, (gone, COST))
    await crowd.sql("UPDATE limit_demand SET at = at - interval '61s' RETURNING 1")
    async with connected(crowd.database.primary_dsn) as connection, connection.transaction():
        await connection.execute("SELECT FROM limit_demand FOR UPDATE")
        async with asyncio.timeout(2):
            await crowd.seconds(1, (worker, COST))
    assert await crowd.sql("SELECT count(*) FROM limit_demand") == 2


async def test_after_a_long_silence_parts_are_even(crowd: Crowd) -> None:
    """What one had learnt holds for a while without exchanges, and then no more."""
    busy, idle = crowd.worker(), crowd.worker()
    await crowd.seconds(5, (busy, MUCH), (idle, 0))
    crowd.time[0] += KEPT
    for worker in (busy, idle):
        worker.shares.missed()
    assert (busy.holds(), idle.holds()) == (800, 800 * CERTAIN / 2)
    crowd.time[0] += 0.1
    for worker in (busy, idle):
        worker.shares.missed()
    assert (busy.holds(), idle.holds()) == (400, 400)


async def test_an_exchange_that_fails_is_missed(crowd: Crowd) -> None:
    """A primary that refuses leaves a worker with its even part in the end."""
    busy, idle = crowd.worker(), crowd.worker()
    await crowd.seconds(5, (busy, MUCH), (idle, 0))
    await crowd.sql("ALTER TABLE limit_demand RENAME TO away")
    crowd.time[0] += KEPT + 0.1
    busy.asked(COST)
    with pytest.raises(AssertionError):
        await busy.exchange()
    assert busy.holds() == 400


def test_a_share_stays_the_same_object() -> None:
    """Who remembers it, as a caller does, sees the new limit."""
    shares = Shares(uuid4(), lambda: 1.0)
    share = shares.share(SUBJECT, LIMIT)
    assert share is not None
    assert shares.share(SUBJECT, Rate(5.0, 7.0)) is share
    assert share.rate == Rate(5.0, 7.0)
    assert share.remaining(1.0) == 7


def test_what_was_taken_stays_taken_when_a_limit_changes() -> None:
    """Another limit is no new bucket."""
    shares = Shares(uuid4(), lambda: 1.0)
    share = shares.share(SUBJECT, LIMIT)
    assert share is not None
    share.take(60, 1.0)
    shares.share(SUBJECT, Rate(1_000.0, 80.0))
    assert share.remaining(1.0) == 20


def test_a_limit_that_comes_back_is_a_new_one() -> None:
    """Between the two there was none, so that nothing is remembered."""
    shares = Shares(uuid4(), lambda: 1.0)
    share = shares.share(SUBJECT, LIMIT)
    assert share is not None
    share.take(800, 1.0)
    assert shares.share(SUBJECT, None) is None
    assert not shares.has_news()
    again = shares.share(SUBJECT, LIMIT)
    assert again is not None
    assert again is not share
    assert again.remaining(1.0) == 800
