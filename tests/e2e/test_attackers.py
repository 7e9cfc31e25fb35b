"""Attackers with keys: what they are told less and less of, and what honest callers still get."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import NamedTuple

import pytest

from tests.e2e.keyring import ON, bearer, known, label_of, new_key, store_of
from tests.e2e.support import Json, Service, running
from tests.ledger.support import blocks, line, number
from tests.support import Database, connected, writer_of
from verifier.config import Config
from verifier.database.migrate import migrate

ATTEMPTS = 3


class Attacked(NamedTuple):
    """A service with one invoice, and a key that may know which fields differ."""

    service: Service
    database: Database
    key: str


@pytest.fixture
async def attacked(database: Database) -> AsyncIterator[Attacked]:
    """Serve a ledger that is complete for the days that are asked about."""
    await migrate(database.primary_dsn)
    writer = writer_of(Config.of(primary_dsn=database.primary_dsn))
    await writer.ingest(blocks(line(each) for each in (1, 2)))
    await writer.set_watermark("1100", datetime(2026, 6, 1, tzinfo=UTC))
    await writer.close()
    key = await new_key(database, "erp", "verify", "explain")
    async with running(database, **ON, failed_attempts=ATTEMPTS, exchange_interval=0.1) as service:
        await known(service, key, 422)
        yield Attacked(service, database, key)


def question(which: int, **other: str) -> Json:
    """A question about an invoice of the ledger."""
    given = json.loads(line(which))
    asked = {name: given[name] for name in ("number", "date", "total")}
    return {**asked, **other}


async def ask(attacked: Attacked, asked: Json) -> Json:
    """The answer."""
    return (await attacked.service.ask(asked, **bearer(attacked.key)))[1]


async def test_after_too_many_failures_a_wrong_answer_is_an_unknown_invoice(
    attacked: Attacked,
) -> None:
    """Whoever has it right gets his match all the same; other invoices are as before."""
    wrong = question(1, total="0.01")
    told = [(await ask(attacked, wrong))["verdict"] for _ in range(ATTEMPTS + 2)]
    assert told == ["mismatch"] * ATTEMPTS + ["not_found"] * 2
    late = await ask(attacked, wrong)
    unknown = await ask(attacked, {**wrong, "number": number(999_999)})
    assert late.keys() == unknown.keys()
    assert late["freshness"]["source"] == unknown["freshness"]["source"] == "primary"
    assert (await ask(attacked, question(1)))["verdict"] == "match"
    assert (await ask(attacked, question(2, total="0.01")))["verdict"] == "mismatch"


async def test_failures_count_across_workers_and_restarts(attacked: Attacked) -> None:
    """Another worker, started later, knows that an invoice has failed too often today."""
    for _ in range(ATTEMPTS):
        await ask(attacked, question(1, total="0.01"))
    async with connected(attacked.database.primary_dsn) as connection, asyncio.timeout(5):
        spent = f"SELECT count(*) FROM failed_attempt WHERE attempts >= {ATTEMPTS}"
        while not await connection.fetchval(spent):
            await asyncio.sleep(0.02)
    async with running(attacked.database, **ON, failed_attempts=ATTEMPTS) as another:
        await known(another, attacked.key, 422)
        _, told = await another.ask(question(1, total="0.01"), **bearer(attacked.key))
    assert told["verdict"] == "not_found"


async def test_a_key_that_is_held_back_is_told_so_and_can_be_released(attacked: Attacked) -> None:
    """429 abnormal_usage with the draft's type; after `keys release` it asks as before."""
    service, key = attacked.service, attacked.key
    async with connected(attacked.database.primary_dsn) as connection:
        await connection.execute(
            "UPDATE access_key SET tight_rate = 0.1, tight_until = now() + interval '5 minutes'"
        )
    async with asyncio.timeout(5):
        while (await service.ask({}, **bearer(key)))[0] != 429:
            await asyncio.sleep(0.01)
    status, told = await service.ask({}, **bearer(key))
    assert (status, told["code"], told["violated-policies"]) == (429, "abnormal_usage", ["key"])
    assert told["type"].endswith("#abnormal-usage-detected")
    async with service.session.get(f"{service.url}/v1/limits", headers=bearer(key)) as response:
        assert (await response.json())["held_back"] is True
    async with store_of(attacked.database) as store:
        await store.release_key(label_of(key))
    await known(service, key, 422)
