"""Feeds about the same invoices at the same time: none is refused, and links stay whole (B11)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random

import asyncpg
import pytest

from tests.ledger.support import blocks, config, counts, line, red_letter, status_line
from tests.support import Database
from verifier.errors import Unavailable
from verifier.ledger.writer import Writer

CLIENTS = 10

# Every invoice whose list is not exactly the red letters that name it. Feeds that give no list and
# name no red letter of a status bring nothing else into it.
DISAGREE = """
SELECT i.key FROM invoice AS i
WHERE i.red_letters IS DISTINCT FROM array(
    SELECT r.key FROM invoice AS r WHERE r.red_letter_of = i.key ORDER BY 1
)
"""


async def feeds_of(writer: Writer, random: Random, feeds: int, lines: int, keys: int) -> int:
    """One client's random feeds of invoices, red letters and statuses; how many were refused."""
    refused = 0
    for _ in range(feeds):
        names = random.sample(range(keys), lines)
        try:
            if random.random() < 0.25:
                states = [status_line(n, random.choice(("normal", "voided"))) for n in names]
                await writer.set_status(blocks(states))
            else:
                await writer.ingest(
                    blocks(
                        red_letter(n, random.randrange(keys, 2 * keys))
                        if random.random() < 0.2
                        else line(n + keys * random.randrange(2))
                        for n in names
                    )
                )
        except Unavailable:
            refused += 1
    return refused


@pytest.mark.parametrize("seed", range(3))
async def test_overlapping_feeds_are_not_refused_and_links_agree(
    ledger: Database, primary: asyncpg.Connection, seed: int
) -> None:
    """Of 60 feeds of ten clients none is refused, and both directions of all links agree (B11)."""
    writer = Writer(config(ledger, write_connections=CLIENTS, connect_timeout=10.0))
    async with asyncio.timeout(60):
        refused = await asyncio.gather(
            *(feeds_of(writer, Random(100 * seed + n), 6, 120, 200) for n in range(CLIENTS))
        )
    await writer.close()
    assert sum(refused) == 0
    assert await primary.fetch(DISAGREE) == []


@pytest.mark.parametrize("seed", range(3))
async def test_red_letters_turned_at_the_same_time_agree(
    ledger: Database, primary: asyncpg.Connection, seed: int
) -> None:
    """Small feeds that turn the same few red letters leave no list that names another's (B11)."""
    writer = Writer(config(ledger, write_connections=CLIENTS, connect_timeout=10.0))
    async with asyncio.timeout(60):
        refused = await asyncio.gather(
            *(feeds_of(writer, Random(100 * seed + n), 20, 3, 5) for n in range(CLIENTS))
        )
    await writer.close()
    assert sum(refused) == 0
    assert await primary.fetch(DISAGREE) == []


async def test_short_feed_gives_way_to_a_long_one(ledger: Database) -> None:
    """A feed of several chunks is not refused for a short one that waits for its rows (B11)."""
    writer = Writer(config(ledger))
    await writer.ingest(blocks([line(1), line(2)]))
    lines = [line(n, status="voided") for n in range(1, 12_001)]
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def long() -> AsyncIterator[bytes]:
        async for block in blocks(lines):
            yield block
        reached.set()
        await go_on.wait()
        yield red_letter(20_000, 2)

    feed = asyncio.create_task(writer.ingest(long()))
    await reached.wait()
    short = asyncio.create_task(writer.ingest(blocks([red_letter(30_000, 1), line(1)])))
    await asyncio.sleep(0.3)  # The short one waits for a row by now, or soon.
    go_on.set()
    assert counts(await feed) == (12_001, 0, 0)
    assert counts(await short) == (2, 0, 0)
    await writer.close()
