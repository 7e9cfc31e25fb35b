"""The change log as a follower reads it, on the primary and on standbys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from tests.ledger.support import HeardChanges
from tests.support import Database, connected, wait_replayed, writer_of
from verifier.config import ChangeLog, Config
from verifier.database.migrate import migrate
from verifier.embedded import Cluster
from verifier.ledger.changes import follower as follower_module
from verifier.ledger.changes.follower import Follower
from verifier.ledger.changes.pruning import prune
from verifier.ledger.ingest import writer as writer_module
from verifier.ledger.ingest.writer import Writer

MAX_GAPS = 2_048
BOUNDS = ChangeLog(max_gaps=MAX_GAPS, max_backlog=1_000_000)

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


async def rows_read(connection: asyncpg.Connection) -> int:
    """How many rows of the change log this server's sessions have read by an index."""
    await connection.execute("SELECT pg_stat_force_next_flush()")
    sql = "SELECT idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'ledger_change'"
    return int(await connection.fetchval(sql) or 0)


class Following:
    """A follower, what it heard, and connections to write with."""

    def __init__(
        self, database: Database, reader: asyncpg.Connection, writers: list[asyncpg.Connection]
    ) -> None:
        self.database = database
        self.reader = reader
        self.writers = writers
        self.follower: Follower

    async def heard(self) -> set[str]:
        """What the change log says now that all that was committed is replayed."""
        await wait_replayed(self.database.primary_dsn, self.database.replica_dsns)
        changes = HeardChanges()
        assert await self.follower.catch_up(changes, time.monotonic())
        self.everything = changes.everything
        return set(changes.keys)


@pytest.fixture(params=["primary", "replica"])
async def following(database: Database, request: pytest.FixtureRequest) -> AsyncIterator[Following]:
    """Follow the change log of an empty ledger, on the primary or on a replica."""
    await migrate(database.primary_dsn)
    await wait_replayed(database.primary_dsn, database.replica_dsns)
    read = database.primary_dsn if request.param == "primary" else database.replica_dsns[0]
    async with (
        connected(read) as reader,
        connected(database.primary_dsn) as one,
        connected(database.primary_dsn) as two,
    ):
        following = Following(database, reader, [one, two])
        following.follower = await Follower.begin(reader, 5.0, BOUNDS, time.monotonic())
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


# So many rows of so many keys each, in one transaction.
ROWS = """
INSERT INTO ledger_change (keys)
SELECT array(SELECT '2611' || lpad((1000 * i + j)::text, 16, '0') FROM generate_series(1, $2) AS j)
FROM generate_series(1, $1::int) AS i
"""


@pytest.mark.parametrize(
    ("backlog", "pages"),
    [
        # 32, 128, 512, and then 2,048 rows at a time.
        ([(20_000, 1)], 13),
        # 32 rows of 1,000 keys make a page, and a last look finds nothing more.
        ([(64, 1_000)], 3),
        # The fifth page has both, and ends with the keys; the sixth asks for 32 rows again.
        ([(3_000, 1), (70, 1_000)], 7),
        # The second page ends with its keys, though 128 rows were asked for.
        ([(32, 250), (40, 1_000)], 3),
    ],
)
async def test_a_backlog_is_heard_in_pages(
    following: Following, backlog: list[tuple[int, int]], pages: int
) -> None:
    """Looks at a backlog are few, whatever its rows are like, and none finds 33,000 keys."""
    for rows, keys in backlog:
        await following.writers[0].execute(ROWS, rows, keys)
    await wait_replayed(following.database.primary_dsn, following.database.replica_dsns)
    follower, looks = following.follower, 0
    look = follower._look

    async def counted(*arguments: Any) -> list[asyncpg.Record]:
        nonlocal looks
        looks += 1
        return await look(*arguments)

    follower._look = counted
    heard = HeardChanges()
    assert await follower.catch_up(heard, time.monotonic())
    assert len(heard.keys) == sum(rows * keys for rows, keys in backlog)
    assert max(heard.sizes) < 33_000
    assert looks == pages


async def test_truncation_says_that_everything_may_have_changed(following: Following) -> None:
    """TRUNCATE is heard as a change of everything."""
    await following.writers[0].execute("TRUNCATE invoice")
    assert await following.heard() == set()
    assert following.everything == 1


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
            await following.follower.catch_up(heard, time.monotonic())
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    await asyncio.gather(*(write(w, 1_000 * i) for i, w in enumerate(following.writers, 1)))
    done.set()
    await looking
    left = await following.heard()
    written = {key(1_000 * i + n) for i in (1, 2) for n in range(150)}
    assert set(heard.keys) | left == written


AGE = "UPDATE ledger_change_horizon SET noted_at = noted_at - interval '2 hours'"


@asynccontextmanager
async def pruning(database: Database) -> AsyncIterator[tuple[Writer, asyncpg.Connection]]:
    """A writer that prunes an empty ledger, and a connection to its primary."""
    await migrate(database.primary_dsn)
    await wait_replayed(database.primary_dsn, database.replica_dsns)
    writer = writer_of(Config.of(primary_dsn=database.primary_dsn))
    async with connected(database.primary_dsn) as connection:
        yield writer, connection
    await writer.close()


async def test_pruning_takes_only_what_ended_a_while_ago(database: Database) -> None:
    """What ended before a horizon that was noted long ago goes; later changes stay."""
    async with pruning(database) as (writer, connection):
        await connection.execute(INSERT, 1, 3_500)
        assert await writer.prune(3_600.0) == 0
        await connection.execute(AGE)
        await connection.execute(INSERT, 4_000, 4_000)
        assert await writer.prune(3_600.0) == 4
        assert await writer.prune(3_600.0) == 0
        assert await connection.fetchval("SELECT count(*) FROM ledger_change") == 1


async def test_pruning_goes_on_until_nothing_is_left(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much has gathered since the last time, all of it goes, in bounded transactions."""
    monkeypatch.setattr(writer_module, "_PRUNED_AT_ONCE", 2)
    async with pruning(database) as (writer, connection):
        await connection.execute(INSERT, 1, 4_500)
        await writer.prune(3_600.0)
        await connection.execute(AGE)
        assert await writer.prune(3_600.0) == 5


async def test_one_transaction_prunes_no_more_than_it_is_told(database: Database) -> None:
    """So that it is short, however much has gathered."""
    async with pruning(database) as (writer, connection):
        await connection.execute(INSERT, 1, 4_500)
        await writer.prune(3_600.0)
        await connection.execute(AGE)
        async with connection.transaction():
            assert await prune(connection, 3_600.0, 2) == 2
        assert await connection.fetchval("SELECT count(*) FROM ledger_change") == 3


async def test_nothing_is_pruned_while_another_worker_prunes(database: Database) -> None:
    """It says that it removed nothing, and does not wait."""
    async with (
        pruning(database) as (writer, connection),
        connected(database.primary_dsn) as other,
    ):
        await connection.execute(INSERT, 1, 1)
        await writer.prune(3_600.0)
        await connection.execute(AGE)
        async with other.transaction():
            await other.execute("SELECT pg_advisory_xact_lock(hashtext('verifier prune'))")
            assert await writer.prune(3_600.0) == 0
        assert await writer.prune(3_600.0) == 1


async def test_a_transaction_that_was_open_for_long_is_not_pruned_when_it_commits(
    database: Database,
) -> None:
    """Its changes were written long ago, and nobody has seen them before (issue 9, A5)."""
    async with (
        pruning(database) as (writer, slow),
        connected(database.primary_dsn) as reader,
        connected(database.primary_dsn) as other,
    ):
        follower = await Follower.begin(reader, 5.0, BOUNDS, 0.0)
        async with slow.transaction():
            await slow.execute(INSERT, 1, 1)
            await slow.execute("UPDATE ledger_change SET created_at = now() - interval '2 hours'")
            await writer.prune(3_600.0)
            await other.execute(AGE)
        await writer.prune(3_600.0)
        heard = HeardChanges()
        assert await follower.catch_up(heard, 1.0)
        assert heard.keys == [key(1)]


@pytest.mark.parametrize("at", ["primary", "replica"])
async def test_who_has_missed_what_was_pruned_says_so(database: Database, at: str) -> None:
    """A follower that did not look while changes came and went begins anew (issue 9, A5)."""
    async with pruning(database) as (writer, connection):
        dsn = database.primary_dsn if at == "primary" else database.replica_dsns[0]
        async with connected(dsn) as reader:
            follower = await Follower.begin(reader, 5.0, BOUNDS, 0.0)
            assert await follower.catch_up(HeardChanges(), 0.0)
            await connection.execute(INSERT, 1, 1)
            await writer.prune(3_600.0)
            await connection.execute(AGE)
            assert await writer.prune(3_600.0) == 1
            await wait_replayed(database.primary_dsn, database.replica_dsns)
            heard = HeardChanges()
            assert not await follower.catch_up(heard, 1.0)
            # It has begun anew by itself.
            await connection.execute(INSERT, 2, 2)
            await wait_replayed(database.primary_dsn, database.replica_dsns)
            assert await follower.catch_up(heard, 2.0)
            assert heard.keys == [key(2)]


async def test_who_began_before_what_was_pruned_had_ended_says_so(database: Database) -> None:
    """A transaction that was open at the beginning is one of those that may be missed."""
    async with pruning(database) as (_, slow), connected(database.primary_dsn) as reader:
        async with slow.transaction():
            await slow.execute(INSERT, 1, 1)
            follower = await Follower.begin(reader, 5.0, BOUNDS, 0.0)
        # At once: no other transaction comes between.
        async with slow.transaction():
            await prune(slow, 3_600.0, 10)
        await slow.execute(AGE)
        async with slow.transaction():
            assert await prune(slow, 3_600.0, 10) == 1
        assert not await follower.catch_up(HeardChanges(), 1.0)


async def test_who_has_seen_what_was_pruned_goes_on(following: Following) -> None:
    """Pruning costs those nothing who keep up: what they remember stays."""
    writer = writer_of(Config.of(primary_dsn=following.database.primary_dsn))
    await following.writers[0].execute(INSERT, 1, 1)
    assert await following.heard() == {key(1)}
    await writer.prune(3_600.0)
    await following.writers[0].execute(AGE)
    # Somebody's later transaction moves the horizon of those who look.
    await following.writers[0].execute(INSERT, 2, 2)
    assert await following.heard() == {key(2)}
    assert await writer.prune(3_600.0) == 1
    assert await following.heard() == set()
    await writer.close()


COMMITS = """
CREATE PROCEDURE many_commits(count int) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..count LOOP
        INSERT INTO ledger_change (keys) VALUES (array['2611' || lpad(i::text, 16, '0')]);
        COMMIT;
    END LOOP;
END
$$
"""


async def test_200_000_commits_behind_an_open_transaction_are_read_once(
    cluster: Cluster, following: Following
) -> None:
    """An idle transaction in any database holds the horizon, and costs nobody anything (B9).

    A look then reads what is new and no more, also one that began behind it.
    """
    quick = following.writers[0]
    async with connected(cluster.primary.dsn_for("postgres")) as idle:
        transaction = idle.transaction()
        await transaction.start()
        await idle.fetchval("SELECT pg_current_xact_id()")
        await quick.execute(COMMITS)
        await quick.execute("SET synchronous_commit = off")
        await quick.execute("CALL many_commits(200000)")
        assert len(await following.heard()) == 200_000
        late = await Follower.begin(following.reader, 5.0, BOUNDS, time.monotonic())
        for follower in (following.follower, late):
            following.follower = follower
            await following.heard()
            read = await rows_read(following.reader)
            await quick.execute("CALL many_commits(3)")
            assert await following.heard() == {key(1), key(2), key(3)}
            assert await rows_read(following.reader) - read < 100
            assert follower.open_for(time.monotonic()) > 0.0
        await transaction.rollback()
    await following.heard()
    await following.heard()
    assert following.follower._gaps.below == []


SMALL = ChangeLog(max_gaps=10, max_backlog=1_000)


@pytest.fixture
async def small(following: Following) -> Following:
    """Follow with a small bound on keys and gaps."""
    following.follower = await Follower.begin(following.reader, 5.0, SMALL, time.monotonic())
    return following


@pytest.mark.parametrize(("rows", "keys"), [(2, 501), (1_001, 1)], ids=["page", "pages"])
async def test_a_backlog_that_is_too_long_is_not_heard_key_by_key(
    small: Following, rows: int, keys: int
) -> None:
    """One very large commit costs what its bound allows, and what comes next is heard."""
    quick = small.writers[0]
    await quick.execute(ROWS, rows, keys)
    await wait_replayed(small.database.primary_dsn, small.database.replica_dsns)
    changes = HeardChanges()
    assert not await small.follower.catch_up(changes, time.monotonic())
    assert len(changes.keys) <= 1_000
    await quick.execute(INSERT, 7, 7)
    assert await small.heard() == {key(7)}


async def test_the_longest_backlog_is_heard(small: Following) -> None:
    """As many keys as the bound are not too many."""
    await small.writers[0].execute(INSERT, 1, 1_000)
    assert len(await small.heard()) == 1_000


async def skip(writer: asyncpg.Connection, count: int) -> None:
    """Make so many gaps: of each two numbers only the second is written."""
    for _ in range(count):
        await writer.execute("SELECT nextval(pg_get_serial_sequence('ledger_change', 'seq'))")
        await writer.execute(
            "INSERT INTO ledger_change (keys) VALUES (array['26110000000000000001'])"
        )


async def overwhelm(following: Following, first: int) -> None:
    """Commit more keys than the bound, and look: they are not heard."""
    await following.writers[0].execute(INSERT, first, first + 1_000)
    await wait_replayed(following.database.primary_dsn, following.database.replica_dsns)
    assert not await following.follower.catch_up(HeardChanges(), time.monotonic())


async def test_a_long_backlog_is_passed_without_reading_what_was_heard_before(
    small: Following,
) -> None:
    """What it costs does not grow with the log that is kept: only numbers behind it are read."""
    for _ in range(4):
        await small.writers[0].execute(
            "INSERT INTO ledger_change (keys) "
            "SELECT ARRAY['26112000000000019999'] FROM generate_series(1, 900)"
        )
        await small.heard()
    read = await rows_read(small.reader)
    await overwhelm(small, 1)
    assert await rows_read(small.reader) - read < 900


async def test_a_long_backlog_asks_for_nothing_that_was_given_up(small: Following) -> None:
    """Numbers of transactions that were rolled back long ago do not blind it again."""
    quick, other = small.writers
    for _ in range(2 * SMALL.max_gaps):
        await skip(quick, 1)
        await small.heard()
    async with other.transaction():
        await other.execute("SELECT pg_current_xact_id()")
        await overwhelm(small, 1)
        assert await small.heard() == set()


async def test_what_was_open_during_a_long_backlog_is_heard(small: Following) -> None:
    """A number that was taken before the backlog and committed after it is not missed."""
    other = small.writers[1]
    async with other.transaction():
        await other.execute(INSERT, 5_000, 5_000)
        await small.writers[0].execute(INSERT, 5_001, 5_001)
        assert await small.heard() == {key(5_001)}
        await overwhelm(small, 1)
        assert await small.heard() == set()
    assert await small.heard() == {key(5_000)}


async def test_a_backlog_that_fills_a_gap_is_passed_once(small: Following) -> None:
    """A very large transaction whose numbers lie before those that were heard counts once."""
    other = small.writers[1]
    async with other.transaction():
        await other.execute(INSERT, 1, 1_001)
        await small.writers[0].execute(INSERT, 5_000, 5_000)
        assert await small.heard() == {key(5_000)}
    await wait_replayed(small.database.primary_dsn, small.database.replica_dsns)
    assert not await small.follower.catch_up(HeardChanges(), time.monotonic())
    assert await small.heard() == set()


async def test_what_was_open_when_following_began_is_heard(following: Following) -> None:
    """A transaction that had written before the beginning, and commits after it, is not missed."""
    slow, quick = following.writers
    async with slow.transaction():
        await slow.execute(INSERT, 1, 1)
        await quick.execute(INSERT, 2, 2)
        await wait_replayed(following.database.primary_dsn, following.database.replica_dsns)
        following.follower = await Follower.begin(following.reader, 5.0, BOUNDS, time.monotonic())
        await quick.execute(INSERT, 3, 3)
        assert await following.heard() == {key(3)}
    assert await following.heard() == {key(1)}


async def test_what_is_there_when_following_begins_is_passed_in_pages(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No query looks at more numbers than one may, and none of them is heard."""
    monkeypatch.setattr(follower_module, "_BEGIN_ROWS", 2)
    await following.writers[0].execute(ROWS, 5, 1)
    await wait_replayed(following.database.primary_dsn, following.database.replica_dsns)
    queries: list[str] = []
    with following.reader.query_logger(lambda record: queries.append(record.query)):
        following.follower = await Follower.begin(following.reader, 5.0, BOUNDS, 0.0)
    assert queries.count(follower_module._RUNS) == 3
    assert await following.heard() == set()


async def test_what_was_rolled_back_leaves_no_gap(following: Following) -> None:
    """The numbers of a transaction that came to nothing are given up once it has ended."""
    slow, quick = following.writers
    transaction = slow.transaction()
    await transaction.start()
    await slow.execute(INSERT, 1, 1)
    await quick.execute(INSERT, 2, 2)
    await following.heard()
    assert following.follower._gaps.below
    await transaction.rollback()
    await quick.execute(INSERT, 3, 3)
    await following.heard()
    assert not following.follower._gaps.below


GAPS = """
INSERT INTO ledger_change (seq, keys) OVERRIDING SYSTEM VALUE
SELECT 2 * i, array['26110000000000000001'] FROM generate_series(1, $1::int) AS i
"""


async def test_thousands_of_gaps_cost_nobody_anything(following: Following) -> None:
    """Behind an open transaction they are not looked at, and nothing is believed until it ends."""
    slow, quick = following.writers
    heard = HeardChanges()
    transaction = slow.transaction()
    await transaction.start()
    await slow.execute(INSERT, 1, 1)
    await quick.execute(GAPS, MAX_GAPS + 10)
    await quick.execute("SELECT setval('ledger_change_seq_seq', $1)", 3 * MAX_GAPS)
    await wait_replayed(following.database.primary_dsn, following.database.replica_dsns)
    for _ in range(3):
        assert not await following.follower.catch_up(heard, 0.0)
    read = await rows_read(following.reader)
    assert not await following.follower.catch_up(heard, 0.0)
    assert await rows_read(following.reader) - read < 100
    await transaction.rollback()
    await quick.execute(INSERT, 2, 2)
    await wait_replayed(following.database.primary_dsn, following.database.replica_dsns)
    assert not await following.follower.catch_up(heard, 0.0)
    await quick.execute(INSERT, 3, 3)
    assert await following.heard() == {key(3)}


TOO_MANY = SMALL.max_gaps + 1


async def look_until_believed(follower: Follower) -> None:
    """Two looks, or more while others of the cluster's are open, such as those of autovacuum."""
    while not await follower.catch_up(HeardChanges(), 0.0):
        pass


async def has_had_too_many_gaps(ledger: Database, primary: asyncpg.Connection) -> Follower:
    """One that has seen them, and not yet that all their transactions have ended."""
    follower = await Follower.begin(primary, 5.0, SMALL, 0.0)
    async with (
        connected(ledger.primary_dsn) as slow,
        connected(ledger.primary_dsn) as quick,
        slow.transaction(),
    ):
        await slow.execute(INSERT, 1, 1)
        await skip(quick, TOO_MANY)
        assert not await follower.catch_up(HeardChanges(), 0.0)
    return follower


async def test_who_had_too_many_gaps_believes_again_once_all_have_ended(
    ledger: Database, primary: asyncpg.Connection
) -> None:
    """Even if nobody begins another transaction."""
    follower = await has_had_too_many_gaps(ledger, primary)
    async with asyncio.timeout(10):
        await look_until_believed(follower)


async def test_who_begins_with_too_many_gaps_does_not_look_at_them(
    ledger: Database, primary: asyncpg.Connection
) -> None:
    """A look asks only whether all have ended that may have had their numbers."""
    async with (
        connected(ledger.primary_dsn) as slow,
        connected(ledger.primary_dsn) as quick,
        slow.transaction(),
    ):
        await slow.execute(INSERT, 1, 1)
        await skip(quick, TOO_MANY)
        follower = await Follower.begin(primary, 5.0, SMALL, 0.0)
        queries: list[str] = []
        with primary.query_logger(lambda record: queries.append(record.query)):
            assert not await follower.catch_up(HeardChanges(), 0.0)
            # asyncpg tells of a query in the loop's next turn.
            await asyncio.sleep(0)
        assert queries == [follower_module._IDS]


@pytest.mark.parametrize("gaps", [0, TOO_MANY])
async def test_a_follower_tells_for_how_long_a_transaction_has_been_open(
    ledger: Database, primary: asyncpg.Connection, gaps: int
) -> None:
    """From when it began to follow, with too many gaps too; no longer once that has ended."""
    async with connected(ledger.primary_dsn) as slow, connected(ledger.primary_dsn) as quick:
        async with slow.transaction():
            await slow.execute(INSERT, 1, 1)
            follower = await Follower.begin(primary, 5.0, SMALL, 100.0)
            assert follower.open_for(101.0) == 1.0
            await skip(quick, gaps)
            for now in (110.0, 120.0):
                await follower.catch_up(HeardChanges(), now)
                assert follower.open_for(now) == now - 100.0
        async with asyncio.timeout(10):
            while follower.open_for(now) > 10.0:
                now += 10.0
                await follower.catch_up(HeardChanges(), now)


@asynccontextmanager
async def locked(database: Database, table: str) -> AsyncIterator[None]:
    """Have whoever reads a table wait; a test that would wait with it fails."""
    async with (
        asyncio.timeout(10),
        connected(database.primary_dsn) as other,
        other.transaction(),
    ):
        await other.execute(f"LOCK TABLE {table}")
        yield


async def test_a_beginning_that_is_not_answered_is_given_up(
    ledger: Database, primary: asyncpg.Connection
) -> None:
    """Within the bound of a query."""
    async with locked(ledger, "ledger_change"):
        with pytest.raises(TimeoutError):
            await Follower.begin(primary, 0.5, BOUNDS, 0.0)


async def test_a_look_that_is_not_answered_is_given_up(
    ledger: Database, primary: asyncpg.Connection
) -> None:
    """Within the bound of a query, and the next one hears what it did not."""
    follower = await Follower.begin(primary, 1.0, BOUNDS, 0.0)
    await primary.execute(INSERT, 1, 1)
    heard = HeardChanges()
    async with locked(ledger, "ledger_change"):
        with pytest.raises(TimeoutError):
            await follower.catch_up(heard, 0.0)
    assert await follower.catch_up(heard, 0.0)
    assert heard.keys == [key(1)]


@pytest.mark.parametrize("table", ["ledger_change_horizon", "ledger_change"])
async def test_a_look_at_too_many_gaps_that_is_not_answered_is_given_up(
    ledger: Database, primary: asyncpg.Connection, table: str
) -> None:
    """Neither the ids nor the numbers are waited for beyond the bound of a query."""
    follower = await has_had_too_many_gaps(ledger, primary)
    follower._seconds = 0.5
    async with locked(ledger, table):
        with pytest.raises(TimeoutError):
            await look_until_believed(follower)
