"""What a tenant asks is what it is told it has asked."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from tests.access.tenants import PEPPER, Tenants
from tests.e2e.support import NOON, Json, Service, clock_at, running
from tests.ledger.support import blocks, config, line, number
from tests.support import Database, connected, variables, writer_of
from verifier.wire import schemas

FOUND = {"number": number(1), "date": "2026-03-01", "total": "113.00"}
ABSENT = {"number": "26112243396243851343", "date": "2026-10-01", "total": "1.00"}
WRONG = {"number": "12"}
TODAY = "2026-11-24"
ACME = "acme"


@pytest.fixture
async def tenants(database: Database) -> Tenants:
    """Make two tenants with a key each, and a ledger of one invoice."""
    tenants = await Tenants.made(database, ACME, "other")
    writer = writer_of(config(database))
    await writer.ingest(blocks([line(1)]))
    await writer.close()
    return tenants


@asynccontextmanager
async def serving(tenants: Tenants, **settings: Any) -> AsyncIterator[Service]:
    """The service with keys, at the conformance set's moment."""
    given = {"auth": "on", "key_peppers": (PEPPER,), "exchange_interval": 0.1} | settings
    async with running(tenants.database, clock_at(NOON), **given) as service:
        yield service


async def get(service: Service, key: str | None, **days: str) -> tuple[int, Json]:
    """Status and body of the report."""
    headers = {} if key is None else {"X-API-Key": key}
    async with service.session.get(
        f"{service.url}/v1/usage", params=days, headers=headers
    ) as response:
        return response.status, await response.json(content_type=None)


def rows(report: Json) -> list[tuple[str, str, str, int]]:
    """The rows of a report."""
    return [
        (row["day"], row["endpoint"], row["verdict"], row["questions"]) for row in report["days"]
    ]


async def whole(service: Service, key: str) -> Json:
    """The report, once all questions of ``ask_all`` are in it."""
    async with asyncio.timeout(10):
        while True:
            status, report = await get(service, key)
            assert status == 200
            if report["total"] == sum(row[-1] for row in EXPECTED):
                return report


async def ask_all(service: Service, key: str) -> None:
    """Ask by each endpoint; a head that is known by then, and what is refused, included."""
    headers = {"Authorization": f"Bearer {key}"}
    for _ in range(4):
        status, _ = await service.ask(ABSENT, **headers)
        assert status == 200
    status, _ = await service.ask(WRONG, **headers)
    assert status == 422
    for path, body in (
        # What has to be loaded, and then from memory alone.
        ("batch", json.dumps({"invoices": [FOUND, ABSENT]})),
        ("stream", "\n".join([json.dumps(FOUND)] * 5)),
        ("batch", json.dumps({"invoices": [ABSENT] * 30 + [WRONG] * 2})),
        ("stream", "\n".join([json.dumps(ABSENT)] * 7)),
    ):
        async with service.session.post(
            f"{service.url}/v1/verify/{path}", data=body, headers=headers
        ) as response:
            assert response.status == 200
            await response.read()
    status, _ = await service.ask(ABSENT, Authorization="Bearer nonsense")
    assert status == 401


EXPECTED = [
    (TODAY, "batch", "invalid", 2),
    (TODAY, "batch", "match", 1),
    (TODAY, "batch", "not_found", 31),
    (TODAY, "stream", "match", 5),
    (TODAY, "stream", "not_found", 7),
    (TODAY, "verify", "invalid", 1),
    (TODAY, "verify", "not_found", 4),
]


async def test_a_tenant_sees_what_it_has_asked(tenants: Tenants) -> None:
    """By day, endpoint and verdict, once an exchange has passed; another tenant sees nothing."""
    async with serving(tenants) as service:
        await ask_all(service, tenants.keys[ACME])
        report = await whole(service, tenants.keys[ACME])
        assert rows(report) == EXPECTED
        assert (report["tenant"], report["from"], report["to"]) == (ACME, "2026-11-01", TODAY)
        assert report["as_of"] is not None
        msgspec.json.decode(msgspec.json.encode(report), type=schemas.Usage)
        status, report = await get(service, tenants.keys["other"])
        assert (status, report["tenant"], rows(report)) == (200, "other", [])
        _, report = await get(service, tenants.keys[ACME], to="2026-11-23")
        assert (report["from"], rows(report), report["total"]) == ("2026-11-01", [], 0)


async def tenants_usage(tenants: Tenants, *arguments: str) -> tuple[int, str, str]:
    """What ``verifier tenants usage`` prints of the conformance set's month, and its exit code."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "verifier", "tenants", "usage", "--from", "2026-11-01", "--to", "2026-11-30"),
        *arguments,
        env=os.environ | variables(primary_dsn=tenants.dsn),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_what_was_asked_last_is_written_at_the_end(tenants: Tenants) -> None:
    """A service that is drained exchanges once more; operators then see it by tenant."""
    async with serving(tenants, exchange_interval=60) as service:
        await ask_all(service, tenants.keys[ACME])
    code, out, err = await tenants_usage(tenants)
    assert code == 0
    assert [tuple(line.split()) for line in out.splitlines()[1:]] == [
        (ACME, *map(str, row)) for row in EXPECTED
    ]
    assert f"{sum(row[-1] for row in EXPECTED)} questions from 2026-11-01 to 2026-11-30" in err
    code, out, _ = await tenants_usage(tenants, ACME, "--json")
    assert (code, rows(json.loads(out))) == (0, EXPECTED)
    code, out, _ = await tenants_usage(tenants, "other", "--json")
    assert (code, rows(json.loads(out))) == (0, [])
    code, _, err = await tenants_usage(tenants, "nobody")
    assert code == 2
    assert "there is no tenant nobody" in err


async def test_a_key_that_is_used_is_known_to_be(tenants: Tenants) -> None:
    """Also by a request that asks about no invoice; not by one that is refused."""
    async with serving(tenants) as service:
        await get(service, tenants.keys[ACME])
        status, _ = await get(service, tenants.keys["other"], to="never")
        assert status == 400
    async with connected(tenants.dsn) as connection:
        used = await connection.fetch("SELECT key FROM access_key_use")
    assert [key for (key,) in used] == [tenants.callers[ACME].id]


@pytest.mark.parametrize(
    ("days", "named"),
    [
        ({"from": "2026-11-31"}, "from: expected a day like 2026-11-01"),
        ({"from": "20261101"}, "from: expected a day like"),
        ({"to": "today"}, "to: expected a day like"),
        ({"from": "2026-11-25"}, "from: 2026-11-25; expected no day after 2026-11-24"),
        ({"from": "2025-11-23"}, "from: 2025-11-23; expected 366 days at most"),
        ({"form": "2026-11-01"}, "form: expected from and to only"),
    ],
)
async def test_a_period_that_is_none_is_named(
    tenants: Tenants, days: dict[str, str], named: str
) -> None:
    """400, and which part of the query is wrong."""
    async with serving(tenants) as service:
        status, problem = await get(service, tenants.keys[ACME], **days)
    assert (status, problem["code"]) == (400, "malformed_period")
    assert problem["detail"].startswith(named)


async def test_without_a_key_nothing_is_told(tenants: Tenants) -> None:
    """Neither where keys are needed, nor where they are not: there is nobody in particular."""
    async with serving(tenants) as service:
        assert (await get(service, None))[0] == 401
    async with running(tenants.database) as service:
        status, problem = await get(service, None)
    assert (status, problem["code"]) == (404, "not_found")


async def test_without_the_primary_usage_is_unavailable(tenants: Tenants) -> None:
    """503, not an empty report: what is there could not be read."""
    async with serving(tenants) as service:
        async with connected(tenants.dsn) as connection:
            await connection.execute("ALTER TABLE usage RENAME TO gone")
        status, problem = await get(service, tenants.keys[ACME])
    assert (status, problem["code"], problem["reason"]) == (503, "unavailable", "no_schema")
