"""Noticing: who asks as guessers do is held back, once, and for longer each time."""

from __future__ import annotations

import asyncpg
import pytest
from structlog.testing import capture_logs

from tests.access.tenants import Tenants
from tests.engine.fakes import Clock
from tests.support import Database, connected
from verifier.access.callers import Caller
from verifier.access.noticing import TIGHT_RATE, Noticing
from verifier.invoice.verdict import Judgement
from verifier.metrics import Metrics


def absent(number: int) -> Judgement:
    """An answer about an invoice that is not there."""
    return Judgement("not_found", f"2611{number * 7919:016d}")


class Watched:
    """A noticing, and a guesser's questions over virtual time."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.metrics = Metrics()
        self.noticing = Noticing(self.clock, self.metrics)
        self._asked = 0

    def guess(self, caller: Caller, seconds: int, verdict: str = "not_found") -> None:
        """Ask twenty questions a second about numbers that are not there."""
        for _ in range(seconds):
            self.clock.now += 1.0
            for _ in range(20):
                self._asked += 1
                answer = absent(self._asked)
                if verdict != "not_found":
                    answer = Judgement("pending", answer.key)
                self.noticing.missed(caller, 0, (answer,))

    async def exchange(self, connection: asyncpg.Connection) -> None:
        """Write what was noticed, as the exchange does."""
        async with connection.transaction():
            self.noticing.collect()
            await self.noticing.write(connection)
        self.noticing.written()


@pytest.fixture
async def tenants(database: Database) -> Tenants:
    """Make a tenant with a key."""
    return await Tenants.made(database, "acme")


HELD = "SELECT tight_rate, round(extract(epoch FROM tight_until - now()) / 60)::int FROM access_key"
KINDS = "SELECT array_agg(kind ORDER BY id) FROM access_event"


async def test_a_guesser_is_held_back_and_told_of(tenants: Tenants) -> None:
    """Once, however long it goes on: a metric, a log line, an event, and five units a second."""
    watched, caller = Watched(), tenants.callers["acme"]
    with capture_logs() as lines:
        watched.guess(caller, 40)
    async with connected(tenants.dsn) as connection:
        await watched.exchange(connection)
        watched.guess(caller, 10)
        await watched.exchange(connection)
        assert tuple(await connection.fetchrow(HELD) or ()) == (TIGHT_RATE, 5)
        assert await connection.fetchval(KINDS) == ["random"]
    (told,) = lines
    assert (told["key"], told["kind"]) == (caller.label, "random")
    assert told["log_level"] == "warning"


async def test_the_next_time_it_is_for_longer(tenants: Tenants) -> None:
    """Twice as long for each time within a day, up to an hour."""
    watched, caller = Watched(), tenants.callers["acme"]
    minutes = []
    async with connected(tenants.dsn) as connection:
        for _ in range(6):
            watched.guess(caller, 40)
            await watched.exchange(connection)
            minutes.append((await connection.fetchrow(HELD) or (0, 0))[1])
            await connection.execute("UPDATE access_key SET tight_until = now()")
    assert minutes == [5, 10, 20, 40, 60, 60]


async def test_what_fails_is_written_later(tenants: Tenants) -> None:
    """An exchange that does not come about loses no suspicion."""
    watched, caller = Watched(), tenants.callers["acme"]
    watched.guess(caller, 40)
    watched.noticing.collect()
    assert watched.noticing.has_news()
    async with connected(tenants.dsn) as connection:
        await watched.exchange(connection)
        assert await connection.fetchval(KINDS) == ["random"]
    assert not watched.noticing.has_news()


async def test_what_is_not_complete_yet_is_no_guess(tenants: Tenants) -> None:
    """Who asks again and again about invoices of today is answered pending, and never suspected."""
    watched = Watched()
    watched.guess(tenants.callers["acme"], 120, "pending")
    assert not watched.noticing.has_news()


def far_apart(second: int, number: int) -> str:
    """A number that has no neighbour among the others."""
    return f"2611{(second * 20 + number) * 7919:016d}"


async def test_a_mismatch_that_is_told_as_absent_is_not_new(tenants: Tenants) -> None:
    """Of who may know: what differs counts as that, and a wrong column is no enumeration."""
    watched, caller = Watched(), tenants.callers["acme"]
    caller.explains = True
    for second in range(60):
        watched.clock.now += 1.0
        for number in range(20):
            told = Judgement("not_found", far_apart(second, number), said=7)
            watched.noticing.missed(caller, 0, (told,))
    assert not watched.noticing.has_news()


@pytest.mark.parametrize("one_number", [False, True], ids=["many numbers", "one number"])
async def test_who_may_not_know_is_held_back_alike(tenants: Tenants, one_number: bool) -> None:
    """The veil gives both answers a fingerprint, so that being held back tells nothing, either."""
    watched, caller = Watched(), tenants.callers["acme"]
    caller.explains = False
    for second in range(60):
        watched.clock.now += 1.0
        for number in range(20):
            key = far_apart(0, 0) if one_number else far_apart(second, number)
            told = Judgement("not_found", key, said=second * 20 + number + 1)
            watched.noticing.missed(caller, 0, (told,))
    assert watched.noticing.has_news()
