"""Tests of the ledger feed into a real primary."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from random import Random
from typing import Any

import asyncpg
import pytest

from tests.ledger.support import (
    blocks,
    config,
    connected,
    line,
    named,
    number,
    red_letter,
    status_line,
)
from tests.support import Database, wait_replayed
from verifier.config import Config
from verifier.embedded import Cluster
from verifier.errors import ConfigError, Unavailable
from verifier.ledger.feed import FeedResult
from verifier.ledger.writer import Writer


@pytest.fixture
async def writer(ledger: Database) -> AsyncIterator[Writer]:
    """Make a writer to the test's ledger."""
    writer = Writer(config(ledger))
    yield writer
    await writer.close()


@pytest.fixture
async def primary(ledger: Database) -> AsyncIterator[asyncpg.Connection]:
    """Connect to the primary."""
    async with connected(ledger.primary_dsn) as connection:
        yield connection


def counts(result: FeedResult) -> tuple[int, int, int]:
    """Accepted, unchanged and rejected lines."""
    return result.accepted, result.unchanged, result.rejected_count


async def red_letters(primary: asyncpg.Connection, blue: int) -> list[str]:
    """The red letters that an invoice lists."""
    listed: list[str] = await primary.fetchval(
        "SELECT red_letters FROM invoice WHERE key = $1", number(blue)
    )
    return listed


async def test_all_fields_arrive(writer: Writer, primary: asyncpg.Connection) -> None:
    """Each field of a line is in the ledger as it was given; amounts are canonical."""
    given = line(
        1,
        kind="vat_e_ordinary",
        code="011002600111",
        number="12345678",
        amount=100,
        tax="13",
        total=113.5,
        check_code="01234567890123456789",
        buyer_tax_id="91110108MA01ABCD34",
        seller_name="名\\称\t\n\r'\"{}",
        status="partially_red_flushed",
        issued_at="2026-03-01T12:00:00.5+08:00",
        red_letters=[{"number": number(9)}, {"code": "011002600111", "number": "00000001"}],
        region="1100",
    )
    assert counts(await writer.ingest(blocks([given]))) == (1, 0, 0)
    row = await primary.fetchrow(
        "SELECT key, kind::text, issue_date::text, amount::text, tax::text, total::text, "
        "check_code, status::text, seller_tax_id, seller_name, buyer_tax_id, buyer_name, "
        "red_letters, red_letter_of, issued_at FROM invoice"
    )
    assert row is not None
    assert tuple(row) == (
        "011002600111-12345678",
        "vat_e_ordinary",
        "2026-03-01",
        "100.00",
        "13.00",
        "113.50",
        "01234567890123456789",
        "partially_red_flushed",
        "91110108MA01ABCD12",
        "名\\称\t\n\r'\"{}",
        "91110108MA01ABCD34",
        "测试个人",
        ["011002600111-00000001", number(9)],
        None,
        datetime(2026, 3, 1, 4, 0, 0, 500_000, UTC),
    )


async def test_lines_are_counted_by_outcome(writer: Writer) -> None:
    """New and changed lines are accepted, equal ones unchanged, bad ones rejected with reasons."""
    result = await writer.ingest(blocks([line(1), line(2), line(3, total="x"), b"[]"]))
    assert counts(result) == (2, 0, 2)
    assert named(result.rejected) == [(3, "total", "bad_format"), (4, "", "bad_format")]
    result = await writer.ingest(blocks([line(1), line(2, status="voided"), line(4)]))
    assert counts(result) == (2, 1, 0)


async def test_empty_feed_has_a_position(writer: Writer) -> None:
    """A feed without a good line commits nothing and still has a position to wait for."""
    result = await writer.ingest(blocks([]))
    assert counts(result) == (0, 0, 0)
    assert result.timeline == 1
    assert result.lsn.count("/") == 1


async def test_unchanged_rows_are_not_touched(writer: Writer, primary: asyncpg.Connection) -> None:
    """A line that the ledger agrees with neither rewrites nor locks its row, nor feeds it."""
    await writer.ingest(blocks([line(1)]))
    await primary.execute("DELETE FROM ledger_change")
    before = await primary.fetchrow("SELECT ctid::text, xmin::text, xmax::text FROM invoice")
    assert counts(await writer.ingest(blocks([line(1)]))) == (0, 1, 0)
    assert (
        await primary.fetchrow("SELECT ctid::text, xmin::text, xmax::text FROM invoice") == before
    )
    assert await primary.fetchval("SELECT count(*) FROM ledger_change") == 0


async def test_last_line_wins_across_chunks(writer: Writer, primary: asyncpg.Connection) -> None:
    """Of several lines about one invoice the last wins, also far apart; each is counted once."""
    lines = [line(n) for n in range(25_000)]
    lines[10] = line(24_999, status="voided")
    lines[11] = line(12_000)
    result = await writer.ingest(blocks(lines))
    # Line 12 came first with what line 12,001 repeats; line 25,000 changes what line 11 said.
    assert counts(result) == (24_999, 1, 0)
    assert await primary.fetchval("SELECT count(*) FROM invoice") == 24_998
    status = "SELECT status::text FROM invoice WHERE key = $1"
    assert await primary.fetchval(status, number(24_999)) == "normal"


async def test_red_letter_after_its_blue_invoice(
    writer: Writer, primary: asyncpg.Connection
) -> None:
    """A blue invoice lists the red letters that come later, sorted, once each."""
    await writer.ingest(blocks([line(1)]))
    assert counts(await writer.ingest(blocks([red_letter(3, 1)]))) == (1, 0, 0)
    await writer.ingest(blocks([red_letter(2, 1), red_letter(3, 1)]))
    assert await red_letters(primary, 1) == [number(2), number(3)]


async def test_red_letter_before_its_blue_invoice(
    writer: Writer, primary: asyncpg.Connection
) -> None:
    """A blue invoice that comes later picks up the red letters that are there already."""
    await writer.ingest(blocks([red_letter(3, 1), red_letter(2, 1)]))
    await writer.ingest(blocks([line(1)]))
    assert await red_letters(primary, 1) == [number(2), number(3)]
    # Both changes are in the feed: the list belongs to the answer.
    fed = await primary.fetch("SELECT keys FROM ledger_change WHERE $1 = ANY(keys)", number(1))
    assert len(fed) == 2


async def test_red_letter_and_blue_invoice_in_one_feed(
    writer: Writer, primary: asyncpg.Connection
) -> None:
    """Within a feed the order does not matter."""
    await writer.ingest(blocks([red_letter(2, 1), line(1), line(3), red_letter(4, 3)]))
    assert await red_letters(primary, 1) == [number(2)]
    assert await red_letters(primary, 3) == [number(4)]


async def test_red_letter_and_blue_invoice_at_the_same_time(
    ledger: Database, primary: asyncpg.Connection
) -> None:
    """Of two feeds that bring the halves at the same time, the later to commit sees the other's."""
    writer = Writer(config(ledger, write_connections=4))
    for first in range(1, 61, 2):
        await asyncio.gather(
            writer.ingest(blocks([red_letter(first + 1, first)])),
            writer.ingest(blocks([line(first)])),
        )
    await writer.close()
    missing = await primary.fetch(
        "SELECT r.key FROM invoice r JOIN invoice i ON i.key = r.red_letter_of "
        "WHERE NOT r.key = ANY(i.red_letters)"
    )
    assert missing == []
    assert await primary.fetchval("SELECT count(*) FROM invoice") == 60


async def test_line_that_does_not_mention_red_letters_keeps_them(
    writer: Writer, primary: asyncpg.Connection
) -> None:
    """A new version of a blue invoice keeps its list unless it gives one."""
    await writer.ingest(blocks([line(1, red_letters=[{"number": number(9)}]), red_letter(2, 1)]))
    await writer.ingest(blocks([line(1, status="partially_red_flushed")]))
    assert await red_letters(primary, 1) == [number(2), number(9)]


async def test_given_list_replaces_what_was_given_before(
    writer: Writer, primary: asyncpg.Connection
) -> None:
    """A line that gives a list replaces the list, but never those that the red letters name."""
    await writer.ingest(blocks([line(1, red_letters=[{"number": number(9)}]), red_letter(2, 1)]))
    again = line(1, red_letters=[{"number": number(8)}])
    assert counts(await writer.ingest(blocks([again]))) == (1, 0, 0)
    assert await red_letters(primary, 1) == [number(2), number(8)]
    assert counts(await writer.ingest(blocks([again]))) == (0, 1, 0)


async def test_red_letter_that_turns_to_another_invoice(
    writer: Writer, primary: asyncpg.Connection
) -> None:
    """A red letter whose blue invoice is corrected leaves the list of the wrong one."""
    await writer.ingest(blocks([line(1), line(2), red_letter(3, 1), red_letter(4, 1)]))
    await writer.ingest(blocks([red_letter(3, 2)]))
    assert await red_letters(primary, 1) == [number(4)]
    assert await red_letters(primary, 2) == [number(3)]


async def test_random_feeds_keep_links_complete(
    writer: Writer, primary: asyncpg.Connection
) -> None:
    """After any sequence of feeds the ledger is what applying line by line would have made it."""
    random = Random(7)
    blue_of: dict[int, int | None] = {}
    status_of: dict[int, str] = {}
    for _ in range(30):
        lines = []
        for _ in range(random.randrange(1, 8)):
            n = random.randrange(1, 12)
            status = random.choice(("normal", "voided", "red_letter"))
            blue = random.randrange(1, 12) if random.random() < 0.5 else None
            if blue == n:
                continue
            changes: dict[str, Any] = {"status": status}
            if blue is not None:
                changes["red_letter_of"] = {"code": "", "number": number(blue)}
            lines.append(line(n, **changes))
            blue_of[n], status_of[n] = blue, status
        await writer.ingest(blocks(lines))
        expected = {
            number(n): (
                status_of[n],
                sorted(number(red) for red, blue in blue_of.items() if blue == n),
            )
            for n in blue_of
        }
        rows = await primary.fetch("SELECT key, status::text, red_letters FROM invoice")
        assert {key: (status, reds) for key, status, reds in rows} == expected


async def test_failing_source_leaves_nothing(writer: Writer, primary: asyncpg.Connection) -> None:
    """When the lines break off, nothing of them is in the ledger, and the next feed runs."""

    async def cut() -> AsyncIterator[bytes]:
        async for block in blocks(line(n) for n in range(22_000)):
            yield block
        raise ConnectionResetError("the client went away")

    for _ in range(5):
        with pytest.raises(ConnectionResetError):
            await writer.ingest(cut())
    assert await primary.fetchval("SELECT count(*) FROM invoice") == 0
    assert counts(await writer.ingest(blocks([line(1)]))) == (1, 0, 0)


async def test_cancelled_feed_leaves_nothing(writer: Writer, primary: asyncpg.Connection) -> None:
    """A feed that is cancelled in the middle is rolled back and gives its connection up."""
    reached = asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        async for block in blocks(line(n) for n in range(12_000)):
            yield block
        reached.set()
        await asyncio.Event().wait()

    for _ in range(5):
        reached.clear()
        feed = asyncio.create_task(writer.ingest(stalling()))
        await reached.wait()
        feed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await feed
    assert await primary.fetchval("SELECT count(*) FROM invoice") == 0
    assert counts(await writer.ingest(blocks([line(1)]))) == (1, 0, 0)


async def test_slow_feed_is_bounded(ledger: Database) -> None:
    """A feed that does not end within its bound is given up."""
    writer = Writer(config(ledger, write_timeout=0.2))

    async def endless() -> AsyncIterator[bytes]:
        yield line(1)
        await asyncio.Event().wait()

    with pytest.raises(Unavailable, match="timeout"):
        await writer.ingest(endless())
    await writer.close()


async def test_feeds_beyond_the_connections_are_refused(ledger: Database) -> None:
    """While all connections are taken, further feeds wait for a bounded time."""
    writer = Writer(config(ledger, write_connections=1, connect_timeout=0.2))
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def long() -> AsyncIterator[bytes]:
        async for block in blocks(line(n) for n in range(12_000)):
            yield block
        reached.set()
        await go_on.wait()

    feed = asyncio.create_task(writer.ingest(long()))
    await reached.wait()
    with pytest.raises(Unavailable, match="overloaded"):
        await writer.set_status(blocks([status_line(1, "voided")]))
    go_on.set()
    assert (await feed).accepted == 12_000
    await writer.close()


async def test_overlapping_feeds_of_new_invoices_both_succeed(ledger: Database) -> None:
    """Feeds that bring the same new invoices at the same time do not fail each other."""
    writer = Writer(config(ledger))
    lines = [line(n) for n in range(300)]
    results = await asyncio.gather(
        writer.ingest(blocks(lines)),
        writer.ingest(blocks(reversed(lines))),
        writer.ingest(blocks(lines[100:])),
    )
    assert sum(result.accepted for result in results) == 300
    assert sum(result.unchanged for result in results) == 500
    await writer.close()


async def test_status_of_known_and_unknown_invoices(
    writer: Writer, primary: asyncpg.Connection
) -> None:
    """A new status is stored with its red letter; unknown invoices are rejected by line."""
    await writer.ingest(blocks([line(1), line(2), line(3)]))
    result = await writer.set_status(
        blocks(
            [
                status_line(1, "partially_red_flushed", 8),
                status_line(7, "voided"),
                b'{"code":"","number":"1","status":"voided"}',
                status_line(2, "normal"),
                status_line(1, "red_flushed", 9),
                status_line(3, "voided"),
            ]
        )
    )
    assert counts(result) == (3, 1, 2)
    assert named(result.rejected) == [(2, "number", "unknown_invoice"), (3, "number", "bad_length")]
    rows = await primary.fetch("SELECT status::text, red_letters FROM invoice ORDER BY key")
    assert [tuple(row) for row in rows] == [
        ("red_flushed", [number(8), number(9)]),
        ("normal", []),
        ("voided", []),
    ]
    again = await writer.set_status(blocks([status_line(1, "red_flushed", 9)]))
    assert counts(again) == (0, 1, 0)


async def test_watermark_is_set_and_moved(writer: Writer, primary: asyncpg.Connection) -> None:
    """A watermark is stored as given, the later word replaces the earlier one."""
    for day in (5, 4):
        moment = datetime(2026, 11, day, tzinfo=UTC)
        position = await writer.set_watermark("1100", moment)
        assert await primary.fetchval("SELECT complete_until FROM region_watermark") == moment
        assert position.timeline == 1


async def test_position_covers_the_commit(ledger: Database, writer: Writer) -> None:
    """A replica that has replayed the position of a feed shows what it brought."""
    async with connected(ledger.replica_dsns[0]) as replica:
        passed = "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn"
        for n in range(20):
            result = await writer.ingest(blocks([line(n)]))
            async with asyncio.timeout(10):
                while not await replica.fetchval(passed, result.lsn):  # noqa: ASYNC110 - no event
                    await asyncio.sleep(0.001)
            assert await replica.fetchval("SELECT count(*) FROM invoice") == n + 1


async def test_acknowledged_feed_survives_a_crash(
    cluster: Cluster, ledger: Database, writer: Writer
) -> None:
    """What was acknowledged is there after the primary was killed; the writer reconnects."""
    await writer.ingest(blocks(line(n) for n in range(1000)))
    cluster.primary.kill(signal.SIGKILL)
    await cluster.primary.wait()
    with pytest.raises(Unavailable, match="no_database"):
        await writer.ingest(blocks([line(1)]))
    await cluster.primary.start()
    result = await writer.ingest(blocks(line(n) for n in range(1001)))
    assert counts(result) == (1, 1000, 0)
    await wait_replayed(ledger.primary_dsn, ledger.replica_dsns)


async def test_primary_that_became_read_only(ledger: Database, primary: asyncpg.Connection) -> None:
    """A primary that refuses to write (SQLSTATE 25006) is unavailable until it writes again."""
    writer = Writer(config(ledger))
    name = ledger.name
    await primary.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    try:
        with pytest.raises(Unavailable, match="read_only"):
            await writer.ingest(blocks([line(1)]))
    finally:
        await primary.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    assert counts(await writer.ingest(blocks([line(1)]))) == (1, 0, 0)
    await writer.close()


async def test_replica_is_no_primary(ledger: Database) -> None:
    """A DSN that leads to a replica is unavailable for writing."""
    writer = Writer(config(ledger, primary_dsn=ledger.replica_dsns[0]))
    with pytest.raises(Unavailable, match="no_database"):
        await writer.ingest(blocks([line(1)]))
    await writer.close()


async def test_database_without_schema(database: Database) -> None:
    """A database that was not migrated is unavailable, and says why."""
    writer = Writer(config(database))
    with pytest.raises(Unavailable, match="no_schema"):
        await writer.ingest(blocks([line(1)]))
    await writer.close()


def test_primary_must_be_configured() -> None:
    """Without a primary there is nothing to feed."""
    with pytest.raises(ConfigError, match="VERIFIER_PRIMARY_DSN"):
        Writer(Config())
