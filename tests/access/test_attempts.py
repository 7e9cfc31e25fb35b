"""Failed attempts: what one worker counts, and what several share through the table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import connected
from verifier.access.attempts import Attempts
from verifier.database.migrate import migrate

# Half an hour before midnight in Shanghai.
EVENING = datetime(2026, 11, 24, 15, 30, tzinfo=UTC).timestamp()
LIMIT = 3


class Wall:
    """A clock that a test sets."""

    now = EVENING

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self.now


def worker(wall: Wall | None = None, most: int = 100) -> Attempts:
    """What one worker counts."""
    return Attempts(LIMIT, most, wall or Wall())


@pytest.fixture
async def connection(blank: str) -> AsyncIterator[asyncpg.Connection]:
    """Connect to a database with the table."""
    await migrate(blank)
    async with connected(blank) as connection:
        yield connection


async def exchange(connection: asyncpg.Connection, *workers: Attempts) -> None:
    """Each worker writes and reads once, one after another."""
    for attempts in workers:
        attempts.collect()
        async with connection.transaction():
            await attempts.write(connection)
        attempts.written()


async def stored(connection: asyncpg.Connection) -> dict[str, int]:
    """What the table says, by key."""
    rows = await connection.fetch("SELECT key, attempts FROM failed_attempt")
    return dict(map(tuple, rows))


def test_it_is_spent_at_the_limit() -> None:
    """An invoice may fail as often as the limit says, and others are not held to account."""
    attempts = worker()
    spent = []
    for _ in range(LIMIT + 1):
        spent.append(attempts.spent("a"))
        attempts.failed("a")
    assert spent == [False, False, False, True]
    assert not attempts.spent("b")


@pytest.mark.parametrize(("later", "spent"), [(29 * 60, True), (30 * 60, False)])
def test_a_day_ends_at_midnight_in_shanghai(later: int, spent: bool) -> None:
    """What was spent is spent until then, and can be tried anew from then on."""
    wall = Wall()
    attempts = worker(wall)
    attempts.failed("a", LIMIT)
    wall.now += later
    assert attempts.spent("a") == spent


def test_the_least_recently_failed_is_forgotten() -> None:
    """When there is no room for one more, the one whose last failure is the oldest goes."""
    attempts = worker(most=2)
    for key in ("a", "b", "a", "c"):
        attempts.failed(key, LIMIT)
    assert [attempts.spent(key) for key in "abc"] == [True, False, True]


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans())))
def test_memory_is_bounded_while_the_database_is_away(failures: list[tuple[str, bool]]) -> None:
    """However many fail and however often they are collected, no part grows beyond the bound."""
    attempts = worker(most=3)
    for key, collects in failures:
        attempts.failed(key)
        if collects:
            attempts.collect()
    assert max(len(attempts), len(attempts._fresh), len(attempts._aside)) <= 3


@given(st.lists(st.sampled_from("abcd"), max_size=40))
def test_one_worker_counts_as_a_counter_does(failures: list[str]) -> None:
    """With room for all, an invoice is spent exactly when it has failed ``limit`` times."""
    attempts = worker()
    for key in failures:
        attempts.failed(key)
    assert all(attempts.spent(key) == (failures.count(key) >= LIMIT) for key in "abcd")


async def test_counts_survive_a_restart(connection: asyncpg.Connection) -> None:
    """What is spent today is known to a new worker after its first exchange."""
    first = worker()
    first.failed("a", LIMIT)
    first.failed("b", LIMIT - 1)
    await exchange(connection, first)
    second = worker()
    await exchange(connection, second)
    assert second.spent("a")
    assert not second.spent("b")
    second.failed("b")
    await exchange(connection, second)
    assert second.spent("b")


async def test_failures_at_several_workers_add_up(connection: asyncpg.Connection) -> None:
    """One that failed once at each of three workers is spent at all, and at one that saw none."""
    workers = [worker() for _ in range(4)]
    for attempts in workers[:3]:
        attempts.failed("a")
    await exchange(connection, *workers)
    await exchange(connection, *workers)
    assert [attempts.spent("a") for attempts in workers] == [True] * 4


async def test_what_comes_during_the_exchange_counts_once(connection: asyncpg.Connection) -> None:
    """A failure between ``collect`` and ``written`` adds to the total, and is in the next one."""
    other, attempts = worker(), worker()
    other.failed("a")
    await exchange(connection, other)
    attempts.failed("a")
    attempts.collect()
    attempts.failed("a")
    assert not attempts.spent("a")
    await attempts.write(connection)
    assert attempts.spent("a")
    attempts.written()
    assert await stored(connection) == {"a": 2}
    await exchange(connection, other)
    assert not other.spent("a")


async def test_what_was_not_committed_is_written_again(connection: asyncpg.Connection) -> None:
    """After a transaction that did not happen its batch goes with the next, and counts once."""
    attempts = worker()
    attempts.failed("a")
    attempts.collect()
    transaction = connection.transaction()
    await transaction.start()
    await attempts.write(connection)
    await transaction.rollback()
    attempts.failed("a")
    await exchange(connection, attempts)
    assert await stored(connection) == {"a": 2}
    await exchange(connection, attempts)
    assert await stored(connection) == {"a": 2}


async def test_nothing_more_is_written_beyond_the_limit(connection: asyncpg.Connection) -> None:
    """An attacker that goes on costs the database nothing."""
    attempts = worker()
    for _ in range(10):
        attempts.failed("a")
        await exchange(connection, attempts)
    assert await stored(connection) == {"a": LIMIT}


async def test_one_that_was_forgotten_gets_its_total_back(connection: asyncpg.Connection) -> None:
    """Who pushes an invoice out of memory gains no more than one exchange."""
    attempts = worker(most=2)
    attempts.failed("a", LIMIT)
    await exchange(connection, attempts)
    attempts.failed("b")
    attempts.failed("c")
    assert not attempts.spent("a")
    attempts.failed("a")
    await exchange(connection, attempts)
    assert attempts.spent("a")


async def test_what_is_spent_is_read_once(connection: asyncpg.Connection) -> None:
    """A worker asks for what was spent since its last exchange, not for all of the day."""
    first, second = worker(), worker()
    first.failed("a", LIMIT)
    await exchange(connection, first, second)
    await connection.execute("SELECT pg_current_xact_id()")
    await exchange(connection, second)
    since = second._ended
    assert await connection.fetchval(
        "SELECT spent < $1::text::xid8 FROM failed_attempt WHERE key = 'a'", since
    )
    first.failed("b", LIMIT)
    await exchange(connection, first, second)
    assert second.spent("b")


async def test_one_that_commits_late_is_not_missed(blank: str) -> None:
    """What an older transaction spends is learnt, though a younger one was read before it ended."""
    await migrate(blank)
    late, young, reader = worker(), worker(), worker()
    late.failed("a", LIMIT)
    young.failed("b", LIMIT)
    async with connected(blank) as slow, connected(blank) as fast:
        late.collect()
        transaction = slow.transaction()
        await transaction.start()
        await late.write(slow)
        await exchange(fast, young, reader)
        assert (reader.spent("a"), reader.spent("b")) == (False, True)
        await transaction.commit()
        await exchange(fast, reader)
        assert reader.spent("a")


async def test_workers_do_not_deadlock(blank: str) -> None:
    """Eight workers that fail on the same invoices in different orders all get through."""
    await migrate(blank)
    keys = [f"key-{number}" for number in range(200)]
    async with AsyncExitStack() as stack:
        each = [(worker(most=1000), await stack.enter_async_context(connected(blank)))
                for _ in range(8)]  # fmt: skip
        for number, (attempts, _) in enumerate(each):
            for key in keys[25 * number :] + keys[: 25 * number]:
                attempts.failed(key)
        await asyncio.gather(*(exchange(connection, attempts) for attempts, connection in each))
        assert set((await stored(each[0][1])).values()) == {8}


async def test_old_days_are_removed(connection: asyncpg.Connection) -> None:
    """Two days later the rows of a day are gone, and one day later they are not yet."""
    wall = Wall()
    attempts = worker(wall)
    attempts.failed("a")
    await exchange(connection, attempts)
    wall.now += 86_400
    attempts.failed("b")
    await exchange(connection, attempts)
    assert await stored(connection) == {"a": 1, "b": 1}
    wall.now += 86_400
    await exchange(connection, attempts)
    assert await stored(connection) == {"b": 1}


async def test_a_day_that_ends_during_the_exchange_is_over(
    connection: asyncpg.Connection,
) -> None:
    """What was spent yesterday, and is read after midnight, does not count today."""
    wall = Wall()
    other, attempts = worker(wall), worker(wall)
    other.failed("a", LIMIT)
    await exchange(connection, other)
    attempts.collect()
    writing = asyncio.create_task(attempts.write(connection))
    await asyncio.sleep(0)
    wall.now += 3_600
    assert not attempts.spent("a")
    await writing
    attempts.written()
    assert not attempts.spent("a")
