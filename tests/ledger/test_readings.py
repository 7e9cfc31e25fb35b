"""Tests of following a change log over a connection that is made by hand."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import asyncpg

from tests.engine.fakes import Clock
from verifier.clocks import Clocks
from verifier.config import ChangeLog
from verifier.ledger.changes.follower import Changes
from verifier.ledger.lookup.observer import Sight
from verifier.ledger.lookup.probes import Probe
from verifier.ledger.lookup.readings import Readings
from verifier.state import Position


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


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    """Whoever watches it goes on after so many seconds."""
    connection = cast("asyncpg.Connection", SilentConnection())
    following = asyncio.create_task(readings(0.01).follow(connection, anew=True))
    await asyncio.wait({following}, timeout=5)
    assert following.done()
    assert isinstance(following.exception(), TimeoutError)


def test_a_reading_tells_what_was_seen_and_what_memory_has_heard() -> None:
    """From whom, as of when, up to where in the log and in the changes; and it is the newest."""
    memory = cast("Changes", SimpleNamespace(applied=7))
    clock = Clock()
    published = Readings(
        "replica", memory, Clocks(lambda: clock() - 100.0, clock), 1.0, ChangeLog()
    )
    probe = Probe(4.0, True, 2, 500, {"1100": 3.0})
    reading = published.publish(Sight(probe, 5.0, anew=False, measured=True))
    assert (reading.source, reading.as_of, reading.watermarks) == ("replica", 5.0, {"1100": 3.0})
    assert (reading.applied, reading.position, reading.moment) == (7, Position(2, 500), 105.0)
    assert reading.current is reading


def test_a_reading_of_an_uncertain_place_shows_no_position() -> None:
    """A token would be honoured by a state that may not include it."""
    published = Readings(
        "replica", cast("Changes", SimpleNamespace(applied=0)), Clock().both, 1.0, ChangeLog()
    )
    probe = Probe(4.0, True, 2, 500, {}, certain=False)
    assert published.publish(Sight(probe, 5.0, anew=False, measured=True)).position is None
