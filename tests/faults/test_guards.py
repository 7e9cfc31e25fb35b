"""Each guard is needed: with it the answer is right, and without it the same events make it wrong.

Nothing here races: what makes the difference is held back until the rest has happened. A guard is
taken away by a patch; the program itself has no switch for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf
from typing import Any

import pytest

from tests.e2e.support import NDJSON, Service, running
from tests.ledger.support import line, number, replay_paused, status_line
from tests.support import Database, connected
from verifier.engine.freshness import Freshness
from verifier.engine.memory import Memory
from verifier.ledger.changes.follower import Changes, Follower
from verifier.ledger.lookup import readings
from verifier.ledger.lookup.lookup import Lookup
from verifier.state import Position
from verifier.wire.records import Absence, Finding

BOUND = 0.6
PROBES = 0.05
VOID = "UPDATE invoice SET status = 'voided' WHERE key = $1"

guarded = pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "unguarded"])


@asynccontextmanager
async def serving(database: Database, bound: float = BOUND) -> AsyncIterator[Service]:
    """Serve two invoices."""
    async with running(database, max_staleness=bound, probe_interval=PROBES) as service:
        await service.feed([line(1), line(2)])
        # The feeds have told of these two by then.
        await asyncio.sleep(5 * PROBES)
        yield service


async def status_of(service: Service, sequence: int) -> str:
    """The state of an invoice as it is answered, or the verdict when it is no match."""
    asked = {"number": number(sequence), "date": "2026-03-01", "total": "113.00"}
    _, answer = await service.ask(asked)
    told: str = answer["status"] if answer["verdict"] == "match" else answer["verdict"]
    return told


async def until(service: Service, sequence: int, expected: str) -> None:
    """Return when an invoice is answered so."""
    async with asyncio.timeout(10):
        while await status_of(service, sequence) != expected:
            await asyncio.sleep(0.01)


async def send(service: Service, what: str, body: bytes) -> None:
    """Feed a line, and return when it is acknowledged."""
    url = f"{service.url}/v1/ledger/{what}"
    async with service.session.post(url, data=body, headers=NDJSON) as response:
        assert (await response.json())["accepted"] == 1


@guarded
async def test_the_refill_guard(
    database: Database, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """A read that saw the old state and arrives after the change must not stay in memory."""
    fetch_many = Lookup.fetch_many
    let_through = asyncio.Event()
    let_through.set()

    async def held(self: Lookup, keys: Sequence[str], deadline: float) -> dict[str, Finding]:
        found = await fetch_many(self, keys, deadline)
        await let_through.wait()
        return found

    monkeypatch.setattr(Lookup, "fetch_many", held)
    if not guarded:
        monkeypatch.setattr(Memory, "_may_keep", lambda *_: True)
    async with serving(database) as service:
        let_through.clear()
        asking = asyncio.create_task(status_of(service, 1))
        await service.shows("verifier_loader_running_queries 1.0")
        await asyncio.sleep(2 * PROBES)
        await service.feed([status_line(1, "voided")], "status")
        await asyncio.sleep(5 * PROBES)
        let_through.set()
        assert await asking == "normal"
        await asyncio.sleep(BOUND)
        assert await status_of(service, 1) == ("voided" if guarded else "normal")


class BySequence(Follower):
    """Remembers the last sequence number that it saw, as if they were committed in their order."""

    _last: int

    async def _begin(self, after: int = 0) -> None:
        """Begin after the last one."""
        self._last = await self._connection.fetchval(
            "SELECT coalesce(max(seq), 0) FROM ledger_change"
        )

    async def catch_up(self, changes: Changes, now: float) -> bool:
        """Apply what came after the last one."""
        sql = "SELECT seq, everything, keys FROM ledger_change WHERE seq > $1 ORDER BY seq"
        for seq, everything, keys in await self._connection.fetch(sql, self._last):
            await changes.apply(keys, everything=everything)
            self._last = seq
        return True


@guarded
async def test_the_gaps(database: Database, monkeypatch: pytest.MonkeyPatch, guarded: bool) -> None:
    """A change that was written first and committed last must not be passed over."""
    if not guarded:
        monkeypatch.setattr(readings, "Follower", BySequence)
    async with (
        serving(database) as service,
        connected(database.primary_dsn) as slow,
        connected(database.primary_dsn) as quick,
    ):
        for sequence in (1, 2):
            await until(service, sequence, "normal")
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute(VOID, number(1))
        await quick.execute(VOID, number(2))
        await until(service, 2, "voided")
        await asyncio.sleep(5 * PROBES)
        await transaction.commit()
        await asyncio.sleep(BOUND + 0.1)
        assert await status_of(service, 1) == ("voided" if guarded else "normal")


@guarded
async def test_the_primary_re_check(
    database: Database, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """A replica that lags within the bound must not have an acknowledged invoice called unknown.

    By the staleness bound alone ``not_found`` would still be right here; this is what the re-check
    is for: nobody is told "not there" about an invoice whose line was acknowledged before.
    """

    async def believe(
        self: Lookup,
        missing: list[str],
        found: dict[str, Finding],
        read: Any,
        at_least: Position | None,
    ) -> None:
        found.update(dict.fromkeys(missing, Absence(read.reading)))

    if not guarded:
        monkeypatch.setattr(Lookup, "_recheck", believe)
    async with serving(database, bound=10.0) as service, replay_paused(database):
        await send(service, "invoices", line(3))
        assert await status_of(service, 3) == ("normal" if guarded else "not_found")


@guarded
async def test_the_bound_on_memory(
    database: Database, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """What memory holds must not be believed once its database falls behind the bound."""
    if not guarded:
        monkeypatch.setattr(Freshness, "oldest", lambda *_: -inf)
    async with serving(database) as service:
        await until(service, 1, "normal")
        async with replay_paused(database):
            await send(service, "status", status_line(1, "voided"))
            await asyncio.sleep(BOUND + 0.1)
            assert await status_of(service, 1) == ("voided" if guarded else "normal")
