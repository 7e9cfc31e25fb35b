"""The staleness bound, seen from outside: what memory says after the ledger has changed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.e2e.support import CONFORMANCE, NDJSON, NOON, Json, Service, clock_at, running
from tests.support import Database

LINES = (CONFORMANCE / "ledger.ndjson").read_bytes().splitlines()
KNOWN: list[Json] = [
    {name: line[name] for name in ("number", "date", "total")}
    for line in map(json.loads, LINES)
    if not line["code"] and line["status"] == "normal"
]
BOUND = 1.0


@pytest.fixture
async def service(database: Database) -> AsyncIterator[Service]:
    """Serve the conformance ledger at the conformance set's moment."""
    async with running(database, clock_at(NOON), max_staleness=BOUND) as service:
        await service.feed(LINES)
        yield service


async def source_of(service: Service, question: Json) -> str:
    """Where the answer to a question comes from."""
    _, answer = await service.ask(question)
    source: str = answer["freshness"]["source"]
    return source


async def test_a_hot_record_stays_in_memory_beyond_the_bound(service: Service) -> None:
    """An invoice that does not change is answered from memory for longer than the bound."""
    # Each database has told of the feed by now, after which nothing drops the record.
    await asyncio.sleep(BOUND)
    await source_of(service, KNOWN[0])
    until = time.monotonic() + 2.5 * BOUND
    moments = set()
    while time.monotonic() < until:
        _, answer = await service.ask(KNOWN[0])
        assert answer["freshness"]["source"] == "cache"
        moments.add(answer["freshness"]["as_of"])
        await asyncio.sleep(0.05)
    # It moves on with the probes of the database that the invoice came from.
    assert len(moments) > 3


async def test_no_answer_is_older_than_the_bound(service: Service) -> None:
    """A question that starts later than the bound after an invoice was voided gets it voided."""
    voided: dict[str, float] = {}
    stale: list[tuple[str, float]] = []
    stop = asyncio.Event()

    async def ask() -> None:
        while not stop.is_set():
            for question in KNOWN[:40]:
                started = time.monotonic()
                _, answer = await service.ask(question)
                since = started - voided.get(question["number"], started)
                if answer["verdict"] == "unavailable":
                    continue
                assert answer["verdict"] == "match"
                if answer["status"] != "voided" and since > BOUND:
                    stale.append((question["number"], since))

    async def void() -> None:
        for question in KNOWN[:40]:
            change = {"number": question["number"], "status": "voided"}
            async with service.session.post(
                f"{service.url}/v1/ledger/status", json=change, headers=NDJSON
            ) as response:
                assert (await response.json())["accepted"] == 1
            voided[question["number"]] = time.monotonic()
            await asyncio.sleep(0.02)
        await asyncio.sleep(2 * BOUND)
        stop.set()

    async with asyncio.timeout(30):
        await asyncio.gather(void(), *(ask() for _ in range(4)))
    assert stale == []
    for question in KNOWN[:40]:
        assert (await service.ask(question))[1]["status"] == "voided"


async def test_plain_sql_cannot_bypass_the_feed(service: Service) -> None:
    """A record that somebody deletes or changes by hand is dropped from memory as well."""
    for question in KNOWN[:2]:
        await service.ask(question)
    connection = await asyncpg.connect(service.database.primary_dsn)
    try:
        await connection.execute("DELETE FROM invoice WHERE key = $1", KNOWN[0]["number"])
        await connection.execute("UPDATE invoice SET total = 1 WHERE key = $1", KNOWN[1]["number"])
    finally:
        await connection.close()
    async with asyncio.timeout(2 * BOUND + 5):
        while (await service.ask(KNOWN[0]))[1]["verdict"] != "not_found":
            await asyncio.sleep(0.02)
        while (await service.ask(KNOWN[1]))[1]["verdict"] != "mismatch":
            await asyncio.sleep(0.02)
