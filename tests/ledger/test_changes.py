"""The change feed as a follower reads it, on the primary and on standbys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.ledger.support import HeardChanges, connected
from tests.support import Database, wait_replayed
from verifier.config import Config
from verifier.ledger.changes import Follower
from verifier.ledger.migrate import migrate
from verifier.ledger.writer import Writer

INSERT = """
INSERT INTO invoice (
    issue_date, kind, status, key, amount, tax, total, check_code,
    seller_tax_id, seller_name, buyer_tax_id, buyer_name
)
SELECT '2026-03-01', 'digital_special', 'normal', '2611' || lpad(i::text, 16, '0'),
    1, 0, 1, '', '', '', '', ''
FROM generate_series($1::int, $2::int) AS i
"""


def key(number: int) -> str:
    """The key of the invoice with this number in the tests' ledger."""
    return f"2611{number:016d}"


class Following:
    """A follower, what it heard, and connections to write with."""

    def __init__(
        self, database: Database, reader: asyncpg.Connection, writers: list[asyncpg.Connection]
    ) -> None:
        self.database = database
        self.reader = reader
        self.writers = writers
        self.follower = Follower(5.0)

    async def heard(self) -> set[str]:
        """What the feed says now that all that was committed is replayed."""
        await wait_replayed(self.database.primary_dsn, self.database.replica_dsns)
        changes = HeardChanges()
        await self.follower.catch_up(changes)
        self.everything = changes.everything
        return set(changes.keys)


@pytest.fixture(params=["primary", "replica"])
async def following(database: Database, request: pytest.FixtureRequest) -> AsyncIterator[Following]:
    """Follow the feed of an empty ledger, on the primary or on a replica."""
    await migrate(database.primary_dsn)
    await wait_replayed(database.primary_dsn, database.replica_dsns)
    read = database.primary_dsn if request.param == "primary" else database.replica_dsns[0]
    async with (
        connected(read) as reader,
        connected(database.primary_dsn) as one,
        connected(database.primary_dsn) as two,
    ):
        following = Following(database, reader, [one, two])
        await following.follower.begin(reader)
        yield following


async def test_each_change_is_heard_once_when_nothing_is_open(following: Following) -> None:
    """Inserts, updates and deletes are heard at the next look, and not again."""
    writer = following.writers[0]
    await writer.execute(INSERT, 1, 3)
    assert await following.heard() == {key(1), key(2), key(3)}
    await writer.execute("UPDATE invoice SET status = 'voided' WHERE key = $1", key(2))
    assert await following.heard() == {key(2)}
    await writer.execute("DELETE FROM invoice WHERE key = $1", key(1))
    assert await following.heard() == {key(1)}
    assert await following.heard() == set()


async def test_a_commit_out_of_order_is_not_skipped(following: Following) -> None:
    """What was written first and committed last is heard, though later ones were heard before."""
    slow, quick = following.writers
    transaction = slow.transaction()
    await transaction.start()
    await slow.execute(INSERT, 1, 1)
    await quick.execute(INSERT, 2, 2)
    assert await following.heard() == {key(2)}
    await quick.execute(INSERT, 3, 3)
    assert await following.heard() == {key(3)}
    await transaction.commit()
    assert await following.heard() == {key(1)}
    assert await following.heard() == set()


async def test_an_open_transaction_holds_nobody_else_up(following: Following) -> None:
    """While a transaction stays open, what others commit is heard at once and only once."""
    slow, quick = following.writers
    transaction = slow.transaction()
    await transaction.start()
    await slow.execute(INSERT, 1, 1)
    for first in range(2, 50, 6):
        for number in range(first, first + 6):
            await quick.execute(INSERT, number, number)
        assert await following.heard() == {key(number) for number in range(first, first + 6)}
    await transaction.rollback()
    await following.heard()
    assert await following.heard() == set()


async def test_a_large_import_is_heard_in_pages(following: Following) -> None:
    """More rows than a page holds are all heard in one look."""
    await following.writers[0].execute(INSERT, 1, 100_000)
    assert await following.heard() == {key(number) for number in range(1, 100_001)}
    assert await following.heard() == set()


async def test_truncation_says_that_everything_may_have_changed(following: Following) -> None:
    """TRUNCATE is heard as a change of everything."""
    await following.writers[0].execute("TRUNCATE invoice")
    assert await following.heard() == set()
    assert following.everything == 1


async def test_following_goes_on_over_another_connection(following: Following) -> None:
    """What was committed while there was no connection is heard after it is resumed."""
    await following.writers[0].execute(INSERT, 1, 1)
    await following.heard()
    await following.writers[0].execute(INSERT, 2, 2)
    # Another connection to the same server.
    await following.follower.resume(following.reader)
    assert await following.heard() == {key(2)}


async def test_commits_racing_with_looks_are_all_heard(following: Following) -> None:
    """With writers that commit in any order all the time, every key is heard in the end."""
    heard = HeardChanges()
    done = asyncio.Event()

    async def write(writer: asyncpg.Connection, first: int) -> None:
        for number in range(first, first + 150):
            async with writer.transaction():
                await writer.execute(INSERT, number, number)
                if number % 3 == 0:
                    await asyncio.sleep(0.002)

    async def look() -> None:
        while not done.is_set():
            await following.follower.catch_up(heard)
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    await asyncio.gather(*(write(w, 1_000 * i) for i, w in enumerate(following.writers, 1)))
    done.set()
    await looking
    left = await following.heard()
    written = {key(1_000 * i + n) for i in (1, 2) for n in range(150)}
    assert set(heard.keys) | left == written


async def test_pruning_takes_only_what_is_old_and_ended(database: Database) -> None:
    """Old changes go; new ones stay for those who follow."""
    await migrate(database.primary_dsn)
    writer = Writer(Config(primary_dsn=database.primary_dsn))
    async with connected(database.primary_dsn) as connection:
        await connection.execute(INSERT, 1, 3_500)
        await connection.execute("UPDATE ledger_change SET created_at = now() - interval '2 hours'")
        await connection.execute(INSERT, 4_000, 4_000)
        assert await writer.prune(3_600.0) == 4
        assert await writer.prune(3_600.0) == 0
        assert await connection.fetchval("SELECT count(*) FROM ledger_change") == 1
    await writer.close()
