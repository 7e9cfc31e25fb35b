"""Tests of following a change log over a connection that is made by hand."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import asyncpg

from tests.engine.fakes import Clock
from verifier.config import ChangeLog
from verifier.ledger.changes.follower import Changes
from verifier.ledger.lookup.readings import Readings


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
