"""The whole service on a free port, and what tests ask of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from tests.support import Database, wait_replayed
from verifier.app import service
from verifier.clocks import Clocks, system_clocks
from verifier.config import Config
from verifier.database.migrate import migrate

NDJSON = {"Content-Type": "application/x-ndjson"}

CONFORMANCE = Path(__file__).parent.parent / "conformance"

# The conformance set's moment (its README): 2026-11-24T12:00:00+08:00.
NOON = datetime(2026, 11, 24, 4, tzinfo=UTC).timestamp()

Json = dict[str, Any]


def clock_at(moment: float) -> Clocks:
    """Clocks of which that on the wall starts at a moment and then runs."""
    steady = system_clocks().steady
    start = steady()
    return Clocks(steady, lambda: moment + steady() - start)


def total(summary: Json) -> int:
    """How many answers a summary counts; its matches are as many as it says by their use."""
    verdicts = {name: count for name, count in summary.items() if name != "matches"}
    assert sum(summary["matches"].values()) == summary["match"]
    return sum(verdicts.values())


class Service:
    """A running service; answers come back as JSON."""

    def __init__(self, url: str, session: aiohttp.ClientSession, database: Database) -> None:
        self.url = url
        self.session = session
        self.database = database

    async def ask(self, question: Json, **headers: str) -> tuple[int, Json]:
        """Status and body of a single question."""
        async with self.session.post(
            f"{self.url}/v1/verify", json=question, headers=headers
        ) as response:
            return response.status, await response.json(content_type=None)

    async def batch(self, questions: list[Json]) -> list[Json]:
        """The results of a batch."""
        async with self.session.post(
            f"{self.url}/v1/verify/batch", json={"invoices": questions}
        ) as response:
            assert response.status == 200, await response.text()
            body = await response.json()
        assert total(body["summary"]) == len(questions)
        results: list[Json] = body["results"]
        return results

    async def stream(self, lines: Iterable[bytes] | AsyncIterator[bytes]) -> list[Json]:
        """The lines that a stream answers, the summary last."""
        data = lines if isinstance(lines, AsyncIterator) else b"\n".join(lines)
        async with self.session.post(f"{self.url}/v1/verify/stream", data=data) as response:
            assert response.status == 200, await response.text()
            return [json.loads(line) async for line in response.content]

    async def shows(self, metric: str) -> None:
        """Return when the metrics hold a line, within a bound."""
        async with asyncio.timeout(10):
            while True:
                async with self.session.get(f"{self.url}/metrics") as response:
                    if metric in (await response.text()).splitlines():
                        return
                await asyncio.sleep(0.01)

    async def feed(self, lines: Iterable[bytes], what: str = "invoices") -> Json:
        """Feed the ledger, and wait until every replica shows it."""
        async with self.session.post(
            f"{self.url}/v1/ledger/{what}", data=b"\n".join(lines), headers=NDJSON
        ) as response:
            assert response.status == 200, await response.text()
            fed: Json = await response.json()
        await wait_replayed(self.database.primary_dsn, self.database.replica_dsns)
        return fed


@asynccontextmanager
async def running(
    database: Database, clocks: Clocks | None = None, **settings: Any
) -> AsyncIterator[Service]:
    """The service over a database, on a free port of this machine.

    It shares this process's event loop with its clients, which may keep that for long: unless a
    test says otherwise, that is no overload.
    """
    await migrate(database.primary_dsn)
    await wait_replayed(database.primary_dsn, database.replica_dsns)
    config = Config.of(
        primary_dsn=database.primary_dsn,
        replica_dsns=database.replica_dsns,
        **{"auth": "off", "expose_ledger": "on", "drain_accept": 0, "standing_delay": 10}
        | settings,
    )
    async with (
        service.Service(config, clocks).serving("127.0.0.1", 0) as url,
        aiohttp.ClientSession() as session,
    ):
        yield Service(url, session, database)
