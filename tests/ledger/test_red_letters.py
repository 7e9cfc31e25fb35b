"""Tests of the links between red letters and blue invoices."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import asyncpg

from tests.ledger.support import (
    blocks,
    config,
    counts,
    line,
    number,
    red_letter,
    status_line,
)
from tests.support import Database, writer_of
from verifier.database.migrate import bundled
from verifier.ledger.ingest.writer import Writer


async def red_letters(primary: asyncpg.Connection, blue: int) -> list[str]:
    """The red letters that an invoice lists."""
    listed: list[str] = await primary.fetchval(
        "SELECT red_letters FROM invoice WHERE key = $1", number(blue)
    )
    return listed


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
    # Both changes are in the change log: the list belongs to the answer.
    fed = await primary.fetch("SELECT keys FROM ledger_change WHERE $1 = ANY(keys)", number(1))
    assert len(fed) == 2


async def test_red_letter_and_blue_invoice_in_one_ingest(
    writer: Writer, primary: asyncpg.Connection
) -> None:
    """Within an ingest the order does not matter."""
    await writer.ingest(blocks([red_letter(2, 1), line(1), line(3), red_letter(4, 3)]))
    assert await red_letters(primary, 1) == [number(2)]
    assert await red_letters(primary, 3) == [number(4)]


async def test_red_letter_and_blue_invoice_at_the_same_time(
    ledger: Database, primary: asyncpg.Connection
) -> None:
    """When the halves come at the same time, the second to commit completes the link."""
    writer = writer_of(config(ledger, write_connections=4))
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


async def test_listed_red_letter_stays_until_it_names_another_invoice(
    writer: Writer, primary: asyncpg.Connection
) -> None:
    """Who is listed before it comes stays when it names nobody, and leaves when it names another.

    However it was listed: with the invoice, or with its new status.
    """
    listed = line(1, red_letters=[{"number": number(3)}])
    await writer.ingest(blocks([listed, line(2)]))
    await writer.set_status(blocks([status_line(2, "red_flushed", 3)]))
    await writer.ingest(blocks([line(3)]))
    assert await red_letters(primary, 1) == await red_letters(primary, 2) == [number(3)]
    await writer.ingest(blocks([red_letter(3, 4)]))
    assert await red_letters(primary, 1) == await red_letters(primary, 2) == []
    assert await primary.fetchval("SELECT count(*) FROM listed_red_letter") == 0


async def test_red_letter_that_names_another_invoice_is_not_listed(
    writer: Writer, primary: asyncpg.Connection
) -> None:
    """What a red letter says itself counts for more than a list, and such a line is unchanged."""
    await writer.ingest(blocks([line(1), line(2), red_letter(3, 2)]))
    listed = line(1, red_letters=[{"number": number(3)}])
    assert counts(await writer.ingest(blocks([listed]))) == (0, 1, 0)
    again = await writer.set_status(blocks([status_line(1, "normal", 3)]))
    assert counts(again) == (0, 1, 0)
    await writer.ingest(blocks([line(5, red_letters=[{"number": number(3)}])]))
    assert await red_letters(primary, 1) == await red_letters(primary, 5) == []
    assert await red_letters(primary, 2) == [number(3)]


async def test_earlier_contradictions_are_mended_by_the_migration(
    writer: Writer, primary: asyncpg.Connection
) -> None:
    """What was listed before stays as it should have been, and is remembered as listed."""
    await writer.ingest(blocks([line(1), line(2), red_letter(3, 2)]))
    await primary.execute("DROP TABLE listed_red_letter")
    stale = [number(3), number(4)]
    await primary.execute("UPDATE invoice SET red_letters = $2 WHERE key = $1", number(1), stale)
    async with primary.transaction():
        await primary.execute(bundled()["0007_listed_red_letter"])
    assert await red_letters(primary, 1) == [number(4)]
    assert await red_letters(primary, 2) == [number(3)]
    listed = await primary.fetch("SELECT red, blue FROM listed_red_letter")
    assert [tuple(row) for row in listed] == [(number(4), number(1))]


async def test_random_ingests_keep_links_complete(
    writer: Writer, primary: asyncpg.Connection
) -> None:
    """After any sequence of ingests the ledger is what applying line by line would have made it."""
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
