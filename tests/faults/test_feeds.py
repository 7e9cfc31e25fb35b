"""Feeds that overlap: many clients bring and change the same invoices at the same time (B11)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import aiohttp
import asyncpg
import msgspec

from tests.faults.ground import Ground
from tests.faults.scenario import FULL, Row, form, play
from tests.faults.service import Service
from tests.faults.wire import feeder
from tests.ledger.overlap import contradictions, invoices, states

CLIENTS, LINES = 10, 120
# Numbers that neither of the ledgers of items.py has.
POOL = range(9 * 10**15, 9 * 10**15 + 400)


@asynccontextmanager
async def overlapping(service: Service, refused: Counter[str]) -> AsyncIterator[None]:
    """Ten clients feed through the service, each one feed after another; counts refusals."""
    feeds = 20 if form() is FULL else 6

    async def client(session: aiohttp.ClientSession, random: Random) -> None:
        for _ in range(feeds):
            name, lines = random.choice((("invoices", invoices), ("status", states)))
            body = b"\n".join(lines(random, LINES, POOL))
            while (refusal := await fed(session, name, body)) is not None:
                refused[refusal["reason"]] += 1
                await asyncio.sleep(refusal["retry_after"])

    async with feeder(service.port, patience=60.0) as session:
        await asyncio.gather(*(client(session, Random(number)) for number in range(CLIENTS)))
        yield


async def fed(session: aiohttp.ClientSession, name: str, body: bytes) -> dict[str, Any] | None:
    """Feed lines once; None when they have been taken, else why not."""
    async with session.post(f"/v1/ledger/{name}", data=body) as response:
        said = await response.read()
    # 422: none of the lines is about an invoice that is there by now.
    if response.status in (200, 422):
        return None
    assert response.status == 503, said
    refusal: dict[str, Any] = msgspec.json.decode(said)
    return refusal


async def test_feeds_overlap(ground: Ground, service: Service, rows: list[Row]) -> None:
    """Feeds do not fail each other, and in the end red letters and blue invoices agree.

    Some are refused at once, before any work, since the load's own writers take the places.
    """
    refused: Counter[str] = Counter()
    fault = overlapping(service, refused)
    rows.append(await play("23 feeds overlap", ground.load, service, fault, seconds=0.0))
    assert set(refused) <= {"overloaded"}
    connection = await asyncpg.connect(ground.cluster.primary.dsn)
    try:
        assert await contradictions(connection) == []
    finally:
        await connection.close()
