"""Tests of ingests that touch the same invoices at the same time (issue 9, B11)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from random import Random
from typing import Any

import asyncpg
import pytest

from tests.ledger.overlap import STATUSES, contradictions, invoices, states
from tests.ledger.support import blocks, config, counts, line
from tests.support import Database, writer_of
from verifier.errors import Unavailable
from verifier.ledger.ingest import chunks
from verifier.ledger.ingest.chunks import IngestResult
from verifier.ledger.ingest.writer import Writer

CLIENTS, INGESTS, LINES, POOL = 10, 6, 120, range(400)


async def fed(
    writers: Sequence[Writer], ingests: int, lines: int, pool: range
) -> list[IngestResult]:
    """What becomes of random ingests of both kinds; each writer does so many in a row."""

    async def client(index: int) -> list[IngestResult]:
        random = Random(index)
        results = []
        for _ in range(ingests):
            if random.random() < 0.7:
                given = invoices(random, lines, pool)
                results.append(await writers[index].ingest(blocks(given)))
            else:
                given = states(random, lines, pool)
                results.append(await writers[index].set_status(blocks(given)))
        return results

    each = await asyncio.gather(*map(client, range(len(writers))))
    return [result for results in each for result in results]


async def test_overlapping_ingests_are_all_taken_in_about_the_time_of_one_after_another(
    ledger: Database, primary: asyncpg.Connection
) -> None:
    """Ten clients send invoices and states over each other: nobody is refused, nobody stalls."""
    writers = [writer_of(config(ledger)) for _ in range(CLIENTS)]
    took = []
    for together in (False, True):
        await primary.execute("TRUNCATE invoice")
        began = time.monotonic()
        if together:
            results = await fed(writers, INGESTS, LINES, POOL)
        else:
            results = [
                result for writer in writers for result in await fed([writer], INGESTS, LINES, POOL)
            ]
        took.append(time.monotonic() - began)
        assert len(results) == CLIENTS * INGESTS
        assert await contradictions(primary) == []
    in_turn, at_once = took
    assert at_once < 2 * in_turn + 2.0
    for writer in writers:
        await writer.close()


@pytest.mark.parametrize("chunk", [10_000, 6])
async def test_links_agree_after_any_interleaving(
    ledger: Database, primary: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """Red letters and blue invoices name each other, however ingests overlap, long ones as well."""
    monkeypatch.setattr(chunks, "_CHUNK_ROWS", chunk)
    for lines, pool, ingests in ((1, range(3), 30), (4, range(8), 20), (10, range(30), 10)):
        writers = [writer_of(config(ledger, write_lock_timeout=0.05)) for _ in range(6)]
        await primary.execute("TRUNCATE invoice, listed_red_letter")
        assert len(await fed(writers, ingests, lines, pool)) == 6 * ingests
        assert await contradictions(primary) == []
        for writer in writers:
            await writer.close()


async def both(*ingests: Coroutine[Any, Any, IngestResult]) -> list[IngestResult]:
    """The results of ingests that run at the same time, within a bound."""
    async with asyncio.timeout(60):
        return await asyncio.gather(*ingests)


async def test_long_ingests_of_the_same_invoices_are_both_taken(
    ledger: Database, writer: Writer
) -> None:
    """Two ingests of several chunks, in opposite orders and two processes, are both taken."""
    other = writer_of(config(ledger))
    lines = [line(n) for n in range(25_000)]
    results = await both(writer.ingest(blocks(lines)), other.ingest(blocks(lines[::-1])))
    assert sorted(map(counts, results)) == [(0, 25_000, 0), (25_000, 0, 0)]
    await other.close()


async def test_short_ingests_give_way_to_a_long_one(ledger: Database, writer: Writer) -> None:
    """A long ingest is taken while short ones bring and change the same invoices all the time."""
    others = [writer_of(config(ledger, write_lock_timeout=0.1)) for _ in range(3)]
    done = asyncio.Event()
    await writer.ingest(blocks(line(n) for n in range(0, 30_000, 2)))

    async def short(other: Writer, random: Random) -> int:
        rounds = 0
        while not done.is_set():
            chosen = random.sample(range(30_000), 50)
            status = random.choice(STATUSES)
            await other.ingest(blocks([line(n, status=status) for n in chosen]))
            rounds += 1
        return rounds

    async def long() -> int:
        result = await writer.ingest(blocks(line(n, buyer_name="改") for n in range(30_000)))
        done.set()
        return result.accepted

    async with asyncio.timeout(120):
        accepted, *rounds = await asyncio.gather(
            long(), *(short(other, Random(n)) for n, other in enumerate(others))
        )
    assert accepted == 30_000
    assert min(rounds) > 0
    for other in others:
        await other.close()


async def test_an_ingest_that_something_else_holds_up_is_refused_in_the_end(
    ledger: Database, primary: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for a transaction that is no ingest gives up after a bounded number of tries."""
    monkeypatch.setattr("verifier.ledger.ingest.writer._TRIES", 3)
    writer = writer_of(config(ledger, write_lock_timeout=0.05))
    await writer.ingest(blocks([line(1)]))
    async with primary.transaction():
        await primary.execute("UPDATE invoice SET status = 'voided'")
        with pytest.raises(Unavailable, match="conflict"):
            await writer.ingest(blocks([line(1, status="red_flushed")]))
    assert counts(await writer.ingest(blocks([line(1, status="red_flushed")]))) == (1, 0, 0)
    await writer.close()


async def test_an_ingest_is_quick_when_statistics_say_that_the_ledger_is_empty(
    ledger: Database, primary: asyncpg.Connection
) -> None:
    """What is analysed in the middle of its first import does not make the import quadratic."""
    bogus = "UPDATE pg_class SET relpages = 200, reltuples = 0 WHERE relname LIKE 'invoice%'"
    random = Random(1)
    pool = range(60_000)
    for _ in range(2):
        await primary.execute(bogus)
        writer = writer_of(config(ledger))
        began = time.monotonic()
        await writer.ingest(blocks(invoices(random, 30_000, pool)))
        await writer.set_status(blocks(states(random, 15_000, pool)))
        # Quadratic, it takes many minutes.
        assert time.monotonic() - began < 120.0
        await writer.close()
    # The check itself goes by statistics.
    await primary.execute("ANALYZE invoice, listed_red_letter")
    assert await contradictions(primary) == []
