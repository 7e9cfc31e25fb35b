"""What is done with keys is in the audit log, and a key that is revoked ends what it has begun."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from tests.e2e.keyring import ON, PEPPER, bearer, known, label_of, new_key, revoke
from tests.e2e.support import NDJSON, Service, running
from tests.support import Database, connected
from verifier.access import audit
from verifier.access.keys import peppers_of
from verifier.database.migrate import migrate
from verifier.synthetic import example

SECRETS = audit.audit_secrets(peppers_of((PEPPER,)))


@pytest.fixture
async def keyed(database: Database) -> AsyncIterator[Service]:
    """Serve with keys."""
    await migrate(database.primary_dsn)
    async with running(database, **ON) as service:
        yield service


async def feed(service: Service, key: str, path: str, body: bytes, method: str = "POST") -> int:
    """Feed something; the status."""
    media = "application/json" if method == "PUT" else NDJSON["Content-Type"]
    headers = {**bearer(key), "Content-Type": media}
    url = f"{service.url}/v1/ledger/{path}"
    async with service.session.request(method, url, data=body, headers=headers) as response:
        await response.read()
        return response.status


async def test_feeds_are_in_the_audit_log(keyed: Service) -> None:
    """Who fed how many lines, and set which watermark; the log verifies."""
    key = await new_key(keyed.database, "feeder", "verify", "ingest", "watermark")
    await known(keyed, key, 422)
    assert await feed(keyed, key, "invoices", example.LINE + b"{}\n") == 200
    assert await feed(keyed, key, "status", b"{}\n") == 422
    moment = b'{"complete_until": "2026-03-02T00:00:00Z"}'
    assert await feed(keyed, key, "regions/1100/watermark", moment, "PUT") == 200
    async with connected(keyed.database.primary_dsn) as connection:
        entries = await audit.entries(connection, 0, 100)
        report = await audit.verify(connection, SECRETS)
    fed = [each for each in entries if each.action.startswith("ledger.")]
    assert [each.action for each in fed] == ["ledger.invoices", "ledger.status", "ledger.watermark"]
    assert {each.actor for each in fed} == {f"tests/{label_of(key)}"}
    assert {each.address for each in fed} == {"127.0.0.1"}
    assert json.loads(fed[0].detail) == {"accepted": 1, "unchanged": 0, "rejected": 1}
    assert fed[2].subject == "1100"
    assert (report.fault, report.head.seq) == (None, len(entries))


async def test_a_stream_ends_when_its_key_is_revoked(keyed: Service) -> None:
    """With an honest summary: what was asked until then is answered."""
    key = await new_key(keyed.database, "streams", "verify", "explain")
    await known(keyed, key, 422)
    goes_on = asyncio.Event()

    async def questions() -> AsyncIterator[bytes]:
        yield b"{}\n"
        await goes_on.wait()
        yield b"{}\n"

    url = f"{keyed.url}/v1/verify/stream"
    async with keyed.session.post(url, data=questions(), headers=bearer(key)) as response:
        assert json.loads(await response.content.readline())["verdict"] == "invalid"
        await revoke(keyed.database, key)
        await known(keyed, key, 401)
        goes_on.set()
        last = json.loads(await response.content.readline())
    assert (last["complete"], last["reason"]) == (False, "revoked_key")
    assert last["summary"]["invalid"] == 1
