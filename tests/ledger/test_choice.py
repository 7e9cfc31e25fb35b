"""Tests of the choice among replicas of which some were too far behind a moment ago."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from tests.ledger.support import HeardChanges, Ledger, line, started, until
from tests.support import Database, connected
from verifier.clocks import system_clocks
from verifier.config import Databases
from verifier.ledger.changes.follower import Follower
from verifier.ledger.lookup.choice import choose
from verifier.ledger.lookup.history import History
from verifier.ledger.lookup.probes import SETTLING_PROBES, Probe
from verifier.ledger.lookup.roles import Replica
from verifier.ledger.lookup.targets import Target

BOUND = 1.0


def test_a_replica_settles_after_probes_in_a_row() -> None:
    """Only so many probes in a row within the bound, and each lapse begins them anew."""
    history = History()
    replica = Replica(
        "replica",
        "",
        1,
        history,
        Databases(),
        system_clocks(),
        lambda started: started - 2.0,
        lambda: None,
        lambda _: None,
        HeardChanges(),
    )

    def judged(began: float, lsn: int) -> bool:
        replica._judge(Probe(began, True, 1, lsn, {}), lost_ground=True)
        return replica.settling

    # Nothing is known of its lag yet.
    assert not judged(100.0, 0)
    history.add(Probe(100.0, False, 1, 1, {}), "")
    history.add(Probe(105.0, False, 1, 2, {}), "")
    assert not judged(102.0, 1)
    assert judged(102.1, 1)
    for _ in range(SETTLING_PROBES - 1):
        assert judged(105.0, 2)
    assert judged(105.0, 1)
    for _ in range(SETTLING_PROBES - 1):
        assert judged(105.0, 2)
    assert not judged(105.0, 2)


@asynccontextmanager
async def behind(ledger: Ledger, *numbers: int) -> AsyncIterator[None]:
    """Some replicas stand still until they are too far behind, and go on at the end."""
    replicas = [ledger.lookup._replicas[number] for number in numbers]
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
    """A feed of one line."""
    yield line(1)


def chosen(ledger: Ledger) -> Target:
    """The database that the next look-up would go to."""
    lookup = ledger.lookup
    grant = choose(lookup._primary, lookup._replicas, oldest(ledger), None)
    assert grant is not None
    target, channel = grant
    target.give_back(channel)
    return target


def oldest(ledger: Ledger) -> float:
    """The oldest state that serves now."""
    return ledger.lookup._oldest(ledger.lookup._clock())


def within_bound(ledger: Ledger, number: int) -> bool:
    """Whether a replica's state is recent enough."""
    reading = ledger.lookup._replicas[number].reading
    return reading is not None and reading.as_of >= oldest(ledger)


async def test_a_replica_that_caught_up_is_out_for_a_while(ledger: Database) -> None:
    """It is within the bound again and not chosen, until it has settled."""
    async with started(ledger, max_staleness=BOUND) as it:
        one, two = it.lookup._replicas
        async with behind(it, 0):
            assert chosen(it) is two
        await until(lambda: within_bound(it, 0))
        while one.settling:
            assert chosen(it) is two
            # With no other one it serves at once.
            two.serving = False
            assert chosen(it) is (one if within_bound(it, 0) else it.lookup._primary)
            two.serving = True
            await asyncio.sleep(0.01)
        assert {chosen(it), chosen(it)} <= {one, two}
        two.serving = False
        assert chosen(it) is one


async def test_replicas_that_caught_up_together_serve_at_once(ledger: Database) -> None:
    """Then none is better than the others, and the primary's few channels are not enough."""
    async with started(ledger, max_staleness=BOUND) as it:
        async with behind(it, 0, 1):
            assert chosen(it) is it.lookup._primary
        await until(lambda: within_bound(it, 0) or within_bound(it, 1))
        assert chosen(it) in it.lookup._replicas


@pytest.mark.parametrize("times", [1, 2])
async def test_a_cancelled_probe_is_asked_again(
    ledger: Database, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """A probe that replay cancelled once says nothing against the server; twice, it is out."""
    async with started(ledger) as it:
        (one, _) = it.lookup._replicas
        left = times
        catch_up = Follower.catch_up

        async def cancelled(self: Follower, changes: HeardChanges, now: float) -> bool:
            nonlocal left
            if self is one._follower and left:
                left -= 1
                raise asyncpg.SerializationError("canceling statement due to conflict")
            return await catch_up(self, changes, now)

        seen: list[bool] = []
        monkeypatch.setattr(one, "_changed", lambda target: seen.append(target.serving))
        monkeypatch.setattr(Follower, "catch_up", cancelled)
        await until(lambda: not left and seen[-2:] == [True, True])
        assert (False in seen) == (times == 2)


async def test_a_replica_without_channels_keeps_nobody_from_the_primary(ledger: Database) -> None:
    """One that is watched but cannot be read is passed over, and does not serve."""
    async with started(ledger) as it:
        for replica in it.lookup._replicas:
            replica._channels._size = 0
            for channel in list(replica.free):
                channel.connection.terminate()
        await until(lambda: not any(replica.free for replica in it.lookup._replicas))
        assert chosen(it) is it.lookup._primary
        await until(lambda: it.serving() == [True, False, False])
