"""Tests of the choice among replicas of which some were too far behind a moment ago."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from tests.ledger.support import HeardChanges, Ledger, line, started, until
from tests.support import Database, connected
from verifier.clocks import Clocks
from verifier.config import ChangeLog, Databases
from verifier.ledger.changes.follower import Follower
from verifier.ledger.lookup.choice import choose
from verifier.ledger.lookup.dating import UNDATED
from verifier.ledger.lookup.fleet import Fleet
from verifier.ledger.lookup.observer import Sight
from verifier.ledger.lookup.probes import Probe
from verifier.ledger.lookup.targets import SETTLING_LOOKS, Target
from verifier.metrics import Metrics
from verifier.state import Reading

BOUND = 1.0


def test_a_replica_settles_after_looks_in_a_row() -> None:
    """Only so many looks in a row within the bound, and each lapse begins them anew."""
    databases = Databases(primary_dsn="postgresql:///one", replica_dsns=("postgresql:///two",))
    clocks = Clocks(lambda: 0.0, lambda: 0.0)
    fleet = Fleet(
        databases, ChangeLog(), Metrics(), clocks, HeardChanges(), lambda started: started - 2.0
    )
    (replica,) = fleet.replicas
    replica.channels._size = 0

    def settling(began: float, lsn: int, *, measured: bool = True) -> bool:
        probe = Probe(began, True, 1, lsn, {})
        as_of = fleet.dating.replica("", probe, UNDATED)
        reading = Reading("replica", as_of, {})
        replica.found(Sight(probe, as_of, anew=True, measured=measured), reading, "", 0.0)
        return replica.settling

    # The primary's position was not known when it was looked at.
    assert not settling(100.0, 0, measured=False)
    fleet.dating.primary("", Probe(100.0, False, 1, 1, {}))
    fleet.dating.primary("", Probe(105.0, False, 1, 2, {}))
    assert not settling(102.0, 1)
    assert settling(102.1, 1)
    for _ in range(SETTLING_LOOKS - 1):
        assert settling(105.0, 2)
    assert settling(105.0, 1)
    for _ in range(SETTLING_LOOKS - 1):
        assert settling(105.0, 2)
    assert not settling(105.0, 2)


@asynccontextmanager
async def behind(ledger: Ledger, *numbers: int) -> AsyncIterator[None]:
    """Some replicas stand still until they are too far behind, and go on at the end."""
    replicas = [ledger.fleet.replicas[number] for number in numbers]
    async with (
        connected(ledger.database.replica_dsns[0]) as one,
        connected(ledger.database.replica_dsns[1]) as two,
    ):
        for number in numbers:
            await (one, two)[number].execute("SELECT pg_wal_replay_pause()")
        try:
            await ledger.writer.ingest(blocks_of_one())
            await until(lambda: all(replica.settling for replica in replicas))
            yield
        finally:
            for number in numbers:
                await (one, two)[number].execute("SELECT pg_wal_replay_resume()")


async def blocks_of_one() -> AsyncIterator[bytes]:
    """One line, as the writer takes it."""
    yield line(1)


def chosen(ledger: Ledger) -> Target:
    """The database that the next look-up would go to."""
    fleet = ledger.fleet
    grant = choose(fleet.primary, fleet.replicas, oldest(ledger), None)
    assert grant is not None
    target, channel = grant
    target.give_back(channel)
    return target


def oldest(ledger: Ledger) -> float:
    """The oldest state that serves now."""
    return ledger.fleet._oldest(ledger.fleet._clock())


def within_bound(ledger: Ledger, number: int) -> bool:
    """Whether a replica's state is recent enough."""
    reading = ledger.fleet.replicas[number].reading
    return reading is not None and reading.is_fresh(oldest(ledger))


async def test_a_replica_that_caught_up_is_out_for_a_while(ledger: Database) -> None:
    """It is within the bound again and not chosen, until it has settled."""
    async with started(ledger, max_staleness=BOUND) as it:
        one, two = it.fleet.replicas
        async with behind(it, 0):
            assert chosen(it) is two
        await until(lambda: within_bound(it, 0))
        while one.settling:
            assert chosen(it) is two
            # With no other one it serves at once.
            two.serving = False
            assert chosen(it) is (one if within_bound(it, 0) else it.fleet.primary)
            two.serving = True
            await asyncio.sleep(0.01)
        assert {chosen(it), chosen(it)} <= {one, two}
        two.serving = False
        assert chosen(it) is one


async def test_replicas_that_caught_up_together_serve_at_once(ledger: Database) -> None:
    """Then none is better than the others, and the primary's few channels are not enough."""
    async with started(ledger, max_staleness=BOUND) as it:
        async with behind(it, 0, 1):
            assert chosen(it) is it.fleet.primary
        await until(lambda: within_bound(it, 0) or within_bound(it, 1))
        assert chosen(it) in it.fleet.replicas


@pytest.mark.parametrize("times", [1, 2])
async def test_a_cancelled_probe_is_asked_again(
    ledger: Database, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """A probe that replay cancelled once says nothing against the server; twice, it is out."""
    async with started(ledger) as it:
        watch = it.fleet._watches[1]
        left = times
        catch_up = Follower.catch_up

        async def cancelled(self: Follower, changes: HeardChanges, now: float) -> bool:
            nonlocal left
            if self is watch._readings._follower and left:
                left -= 1
                raise asyncpg.SerializationError("canceling statement due to conflict")
            return await catch_up(self, changes, now)

        seen: list[bool] = []
        changed = it.fleet.changed

        def see(target: Target) -> None:
            if target is watch.target:
                seen.append(target.serving)
            changed(target)

        monkeypatch.setattr(it.fleet, "changed", see)
        monkeypatch.setattr(Follower, "catch_up", cancelled)
        await until(lambda: not left and seen[-2:] == [True, True])
        assert (False in seen) == (times == 2)


async def test_a_replica_without_channels_keeps_nobody_from_the_primary(ledger: Database) -> None:
    """One that is watched but cannot be read is passed over, and does not serve."""
    async with started(ledger) as it:
        for replica in it.fleet.replicas:
            replica.channels._size = 0
            for channel in list(replica.free):
                channel.connection.terminate()
        await until(lambda: not any(replica.free for replica in it.fleet.replicas))
        assert chosen(it) is it.fleet.primary
        await until(lambda: it.serving() == [True, False, False])
