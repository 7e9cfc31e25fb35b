"""Tests of what comes into the ledger, on a real primary."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import asyncpg
import pytest

from tests.ledger.support import blocks, counts, line, named, number, status_line
from tests.support import Database, connected, writer_of
from verifier.config import Config
from verifier.errors import ConfigError
from verifier.ledger.ingest.writer import Writer


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


async def test_without_lines_there_is_a_position(writer: Writer) -> None:
    """A request without a good line commits nothing and still has a position to wait for."""
    result = await writer.ingest(blocks([]))
    assert counts(result) == (0, 0, 0)
    assert result.position.timeline == 1
    assert result.position.lsn > 0


async def test_unchanged_rows_are_not_touched(writer: Writer, primary: asyncpg.Connection) -> None:
    """A line that the ledger agrees with neither rewrites nor locks its row, nor logs a change."""
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
    """A watermark is stored as given, the later word replaces the earlier one and says if back."""
    for day, moved_back in ((5, False), (5, False), (4, True), (6, False)):
        moment = datetime(2026, 11, day, tzinfo=UTC)
        moved = await writer.set_watermark("1100", moment)
        assert await primary.fetchval("SELECT complete_until FROM region_watermark") == moment
        assert (moved.moved_back, moved.position.timeline) == (moved_back, 1)


@pytest.mark.parametrize("known", [True, False])
async def test_a_watermark_is_compared_with_the_one_that_it_replaces(
    writer: Writer, primary: asyncpg.Connection, *, known: bool
) -> None:
    """Of two at the same time, the second compares with what the first has committed (A7)."""
    if known:
        await writer.set_watermark("1100", datetime(2026, 11, 1, tzinfo=UTC))
    async with primary.transaction():
        await primary.execute(
            "INSERT INTO region_watermark VALUES ('1100', '2026-11-09Z') "
            "ON CONFLICT (region) DO UPDATE SET complete_until = excluded.complete_until"
        )
        second = asyncio.create_task(
            writer.set_watermark("1100", datetime(2026, 11, 5, tzinfo=UTC))
        )
        async with asyncio.timeout(10):
            while not await primary.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.005)
    assert (await second).moved_back


async def test_position_covers_the_commit(ledger: Database, writer: Writer) -> None:
    """A replica that has replayed the position of an ingest shows what it brought."""
    async with connected(ledger.replica_dsns[0]) as replica:
        passed = "SELECT pg_last_wal_replay_lsn() - '0/0' >= $1"
        for n in range(20):
            result = await writer.ingest(blocks([line(n)]))
            async with asyncio.timeout(10):
                while not await replica.fetchval(passed, result.position.lsn):
                    await asyncio.sleep(0.001)
            assert await replica.fetchval("SELECT count(*) FROM invoice") == n + 1


def test_primary_must_be_configured() -> None:
    """Without a primary there is nothing to write to."""
    with pytest.raises(ConfigError, match="VERIFIER_PRIMARY_DSN"):
        writer_of(Config())
