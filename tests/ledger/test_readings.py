"""Tests of following a change log over a connection that is made by hand."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import asyncpg
import pytest

from tests.engine.fakes import Clock
from tests.invoice.samples import NOON
from verifier.clocks import Clocks
from verifier.config import ChangeLog
from verifier.ledger.changes.follower import Changes
from verifier.ledger.lookup import readings as module
from verifier.ledger.lookup.observer import Sight
from verifier.ledger.lookup.probes import Probe
from verifier.ledger.lookup.readings import Readings
from verifier.state import Position, Reading


class FakeFollower:
    """Keeps how it was begun; what it hears of is whole, or is not, as a test says."""

    begun: ClassVar[list[tuple[Any, ...]]] = []
    whole = True
    caught_up: tuple[Any, ...] = ()

    @classmethod
    async def begin(cls, *arguments: Any) -> FakeFollower:
        """Begin another one."""
        cls.begun.append(arguments)
        return cls()

    async def catch_up(self, *arguments: Any) -> bool:
        """Note who is to hear of the changes."""
        FakeFollower.caught_up = arguments
        return self.whole


@pytest.fixture
def follower(monkeypatch: pytest.MonkeyPatch) -> type[FakeFollower]:
    """In the place of the one that needs a server."""
    monkeypatch.setattr(module, "Follower", FakeFollower)
    monkeypatch.setattr(FakeFollower, "begun", [])
    return FakeFollower


class SilentConnection:
    """A connection whose server never answers."""

    async def prepare(self, _: str) -> Any:
        """Wait for ever."""
        await asyncio.Event().wait()


def readings(seconds: float) -> Readings:
    """Of a replica, with nobody who hears of changes."""
    return Readings("replica", cast("Changes", None), Clock().both, seconds, ChangeLog())


def test_before_a_log_is_followed_no_transaction_is_known_to_be_open() -> None:
    """Whoever asks for how long learns that it has been none."""
    assert readings(1.0).open_for == 0.0


async def test_a_silent_server_is_given_up() -> None:
    """Whoever watches it goes on after so many seconds."""
    connection = cast("asyncpg.Connection", SilentConnection())
    task = asyncio.create_task(readings(0.01).follow(connection, anew=True))
    await asyncio.wait({task}, timeout=5)
    assert task.done()
    assert isinstance(task.exception(), TimeoutError)


def test_a_reading_tells_what_was_seen_and_what_memory_has_heard() -> None:
    """From whom, as of when, up to where in the log and in the changes; and it is the newest."""
    memory = cast("Changes", SimpleNamespace(applied=7))
    clock = Clock()
    followed = Readings("replica", memory, Clocks(lambda: clock() - 100.0, clock), 1.0, ChangeLog())
    probe = Probe(4.0, True, 2, 500, {"1100": 3.0})
    reading = followed.publish(Sight(probe, 5.0, anew=False, measured=True))
    assert (reading.source, reading.as_of, reading.watermarks) == ("replica", 5.0, {"1100": 3.0})
    assert (reading.applied, reading.position, reading.moment) == (7, Position(2, 500), 105.0)
    assert reading.current is reading


def test_a_reading_of_an_uncertain_place_shows_no_position() -> None:
    """A token would be honoured by a state that may not include it."""
    followed = Readings(
        "replica", cast("Changes", SimpleNamespace(applied=0)), Clock().both, 1.0, ChangeLog()
    )
    probe = Probe(4.0, True, 2, 500, {}, certain=False)
    assert followed.publish(Sight(probe, 5.0, anew=False, measured=True)).position is None


def published(followed: Readings) -> Reading:
    """What it publishes of a state."""
    return followed.publish(Sight(Probe(4.0, True, 2, 500, {}), 5.0, anew=False, measured=True))


def following(memory: Any = None) -> Readings:
    """Readings whose memory has heard of nothing."""
    memory = cast("Changes", memory or SimpleNamespace(applied=0))
    return Readings("replica", memory, Clock().both, 1.5, ChangeLog())


CONNECTION = cast("asyncpg.Connection", "connection")


async def test_what_was_found_is_as_new_as_the_newest_look(follower: type[FakeFollower]) -> None:
    """As long as the log is followed without a gap."""
    followed = following()
    assert await followed.follow(CONNECTION, anew=True)
    first = published(followed)
    assert await followed.follow(CONNECTION, anew=False)
    second = published(followed)
    assert first.current is second
    assert len(follower.begun) == 1


@pytest.mark.parametrize("anew", [False, True])
async def test_what_was_found_before_a_gap_is_believed_no_more(
    follower: type[FakeFollower], anew: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor what was found over another connection; what is found from then on is."""
    followed = following()
    await followed.follow(CONNECTION, anew=True)
    before = published(followed)
    monkeypatch.setattr(follower, "whole", anew)
    assert await followed.follow(CONNECTION, anew=anew) is anew
    assert before.current is None
    after = published(followed)
    assert after.current is after
    assert before.current is None


async def test_a_log_is_followed_from_the_first_look_on(follower: type[FakeFollower]) -> None:
    """Whether or not the connection is called a new one."""
    assert await following().follow(CONNECTION, anew=False)
    assert len(follower.begun) == 1


async def test_a_follower_is_begun_within_the_bounds(follower: type[FakeFollower]) -> None:
    """Over the connection, at this moment; and memory hears of what it finds."""
    memory = SimpleNamespace(applied=0)
    await following(memory).follow(CONNECTION, anew=True)
    assert follower.begun == [(CONNECTION, 1.5, ChangeLog(), NOON)]
    assert follower.caught_up == (memory, NOON)
