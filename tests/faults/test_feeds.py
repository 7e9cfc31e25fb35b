"""Feeds that overlap: many clients bring and change the same invoices at the same time (B11)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import asyncpg
import msgspec

from tests.faults.ground import Ground
from tests.faults.scenario import FULL, Row, form, play
from tests.faults.service import Service
from tests.faults.wire import Pool, Reply, request
from tests.ledger.overlap import contradictions, invoices, states

CLIENTS, LINES = 10, 120
# Numbers that neither of the ledgers of items.py has.
POOL = range(9 * 10**15, 9 * 10**15 + 400)


@asynccontextmanager
async def overlapping(service: Service, refused: Counter[str]) -> AsyncIterator[None]:
    """Ten clients feed through the service, each one feed after another; counts refusals."""
    feeds = 20 if form() is FULL else 6
    pool = Pool(service.port, CLIENTS, patience=60.0)

    async def taken(data: bytes) -> None:
        while True:
            future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
            pool.ask(data, future.set_result)
            reply = await future
            # 422: none of the lines is about an invoice that is there by now.
            if reply.status in (200, 422):
                return
            assert reply.status == 503, reply
            refusal = msgspec.json.decode(reply.body)
            refused[refusal["reason"]] += 1
            await asyncio.sleep(refusal["retry_after"])

    async def client(random: Random) -> None:
        for _ in range(feeds):
            name, lines = random.choice((("invoices", invoices), ("status", states)))
            body = b"\n".join(lines(random, LINES, POOL))
            await taken(request("POST", f"/v1/ledger/{name}", body))

    try:
        await asyncio.gather(*(client(Random(number)) for number in range(CLIENTS)))
        yield
    finally:
        await pool.close()


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
