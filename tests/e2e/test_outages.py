"""What is answered while databases die: the truth, or that it could not be checked."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.e2e.support import CONFORMANCE, NDJSON, NOON, Json, Service, clock_at, running
from tests.support import Database
from verifier.embedded import Cluster

LINES = (CONFORMANCE / "ledger.ndjson").read_bytes().splitlines()
KNOWN: list[Json] = [
    {name: line[name] for name in ("number", "date", "total")}
    for line in map(json.loads, LINES)
    if not line["code"]
]
ABSENT: list[Json] = [
    {"number": f"2611224339624385{number:04d}", "date": "2026-10-01", "total": "1.00"}
    for number in range(100)
]


@pytest.fixture
async def service(database: Database, cluster: Cluster) -> AsyncIterator[Service]:
    """Serve the conformance ledger without much of a memory, so that databases are asked."""
    async with running(
        database, clock_at(NOON), cache_entries=2, absence_entries=2, max_staleness=1.0
    ) as service:
        await service.feed(LINES)
        yield service
        for server in (cluster.primary, *cluster.replicas):
            server.kill(signal.SIGCONT)
            await server.start()


async def ask_all(service: Service) -> Counter[tuple[str, str]]:
    """Verdicts on known and absent invoices, asked one by one and as a batch."""
    counts: Counter[tuple[str, str]] = Counter()
    for what, questions in (("known", KNOWN), ("absent", ABSENT)):
        answers = await asyncio.gather(*(service.ask(question) for question in questions))
        counts.update((what, answer.get("verdict", "?")) for _, answer in answers)
        counts.update((what, result["verdict"]) for result in await service.batch(questions))
    return counts


RIGHT = {("known", "match"), ("absent", "not_found")}
HONEST = RIGHT | {("known", "unavailable"), ("absent", "unavailable")}


async def until_right(service: Service) -> None:
    """Return when every answer is right again, within a bound."""
    async with asyncio.timeout(15):
        while set(await ask_all(service)) != RIGHT:
            await asyncio.sleep(0.05)


async def test_the_death_of_one_replica_changes_no_verdict(
    service: Service, cluster: Cluster
) -> None:
    """While a replica is killed and gone every answer is right or unavailable, and soon right."""
    assert set(await ask_all(service)) == RIGHT
    cluster.replicas[0].kill(signal.SIGKILL)
    for _ in range(3):
        assert set(await ask_all(service)) <= HONEST
    await until_right(service)


async def test_a_frozen_replica_changes_no_verdict(service: Service, cluster: Cluster) -> None:
    """A replica that stands still costs its questions a moment, never the truth."""
    cluster.replicas[1].kill(signal.SIGSTOP)
    for _ in range(2):
        assert set(await ask_all(service)) <= HONEST
    await until_right(service)


async def test_without_any_database_everything_is_unavailable(
    service: Service, cluster: Cluster
) -> None:
    """With all databases down the answer is unavailable, never not_found; readiness says no."""
    servers = [cluster.primary, *cluster.replicas]
    for server in servers:
        server.kill(signal.SIGKILL)
    assert set(await ask_all(service)) <= HONEST
    async with asyncio.timeout(10):
        while set(await ask_all(service)) != {("known", "unavailable"), ("absent", "unavailable")}:
            await asyncio.sleep(0.05)
    status, problem = await service.ask(KNOWN[0])
    assert (status, problem["code"]) == (503, "unavailable")
    status, problem = await service.ask({"number": "12"})
    assert (status, problem["code"]) == (422, "invalid")
    async with service.session.get(f"{service.url}/readyz") as response:
        assert response.status == 503
        assert (await response.json())["reasons"] == ["no_database"]
    async with service.session.get(f"{service.url}/livez") as response:
        assert response.status == 200
    url = f"{service.url}/v1/ledger/invoices"
    async with service.session.post(url, data=LINES[0], headers=NDJSON) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
    for server in servers:
        await server.start()
    await until_right(service)


async def test_without_the_primary_nothing_stale_is_said(
    service: Service, cluster: Cluster
) -> None:
    """When the primary is gone for longer than the bound, replicas no longer speak for it."""
    cluster.primary.kill(signal.SIGKILL)
    async with asyncio.timeout(10):
        while ("known", "match") in (counts := await ask_all(service)):
            assert set(counts) <= HONEST
    assert set(await ask_all(service)) == {("known", "unavailable"), ("absent", "unavailable")}
    await cluster.primary.start()
    await until_right(service)


async def on_replicas(cluster: Cluster, sql: str) -> None:
    """Execute SQL on each replica."""
    for replica in cluster.replicas:
        connection = await asyncpg.connect(replica.dsn)
        await connection.execute(sql)
        await connection.close()


async def test_a_paused_replica_never_says_not_there(service: Service, cluster: Cluster) -> None:
    """An invoice that a paused replica lacks is found on the primary, at once."""
    await on_replicas(cluster, "SELECT pg_wal_replay_pause()")
    try:
        new = json.loads(LINES[0]) | {"code": "", "kind": "digital_special"}
        new |= {"number": "26112000000000000001", "date": "2026-11-20", "check_code": ""}
        async with service.session.post(
            f"{service.url}/v1/ledger/invoices", data=json.dumps(new), headers=NDJSON
        ) as response:
            assert (await response.json())["accepted"] == 1
        question = {name: new[name] for name in ("number", "date", "total")}
        _, answer = await service.ask(question)
        assert (answer["verdict"], answer["freshness"]["source"]) == ("match", "primary")
    finally:
        await on_replicas(cluster, "SELECT pg_wal_replay_resume()")
