"""Tests of waiting for a channel."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from verifier.errors import Unavailable
from verifier.ledger.gate import Gate
from verifier.ledger.targets import Target


class Channels:
    """Free channels, as strings, and whether there is any database."""

    def __init__(self, *free: str) -> None:
        self.free: list[Any] = list(free)
        self.serving = True

    def take(self, avoid: Target | None) -> Any:
        """Give a channel or None, as Lookup does."""
        if not self.serving:
            raise Unavailable("no_database")
        return self.free.pop() if self.free else None


async def settled() -> None:
    """Let all tasks run until they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_free_channel_is_given_at_once() -> None:
    """Whoever finds a channel free does not wait."""
    channels = Channels("a")
    got: Any = await Gate(channels.take, 1).enter(deadline=10.0)
    assert got == "a"


async def test_waiters_are_served_in_order() -> None:
    """Who waits longest gets the channel that becomes free."""
    channels = Channels()
    gate = Gate(channels.take, 3)
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(gate.enter(10.0)) for _ in range(3)]
    await settled()
    for name in "abc":
        channels.free.append(name)
        gate.wake()
        await settled()
    assert [await task for task in tasks] == ["a", "b", "c"]


async def test_too_many_waiters_are_refused() -> None:
    """Beyond the bound nobody waits."""
    gate = Gate(Channels().take, 1)
    task = asyncio.create_task(gate.enter(10.0))
    await settled()
    with pytest.raises(Unavailable, match="overloaded"):
        await gate.enter(10.0)
    task.cancel()


async def test_waiting_ends_at_the_deadline() -> None:
    """A sweep after the deadline ends the wait; others go on waiting."""
    gate = Gate(Channels().take, 2)
    early, late = (asyncio.create_task(gate.enter(at)) for at in (1.0, 2.0))
    await settled()
    gate.sweep(1.5)
    await settled()
    assert early.done()
    assert not late.done()
    with pytest.raises(Unavailable, match="overloaded"):
        await early
    late.cancel()


async def test_waiting_ends_when_there_is_nothing_to_wait_for() -> None:
    """When the last database goes, a sweep tells those who wait."""
    channels = Channels()
    gate = Gate(channels.take, 1)
    task = asyncio.create_task(gate.enter(10.0))
    await settled()
    channels.serving = False
    gate.sweep(0.0)
    with pytest.raises(Unavailable, match="no_database"):
        await task


async def test_cancelled_waiter_passes_its_turn_on() -> None:
    """A waiter that is cancelled just when its turn comes does not lose it for the next."""
    channels = Channels()
    gate = Gate(channels.take, 2)
    first: asyncio.Task[Any] = asyncio.create_task(gate.enter(10.0))
    second: asyncio.Task[Any] = asyncio.create_task(gate.enter(10.0))
    await settled()
    channels.free.append("a")
    gate.wake()
    first.cancel()
    await settled()
    assert first.cancelled()
    assert await second == "a"


async def test_newcomer_does_not_overtake() -> None:
    """While others wait, a newcomer queues behind them even if a channel is free."""
    channels = Channels()
    gate = Gate(channels.take, 2)
    first: asyncio.Task[Any] = asyncio.create_task(gate.enter(10.0))
    await settled()
    channels.free.append("a")
    second = asyncio.create_task(gate.enter(10.0))
    await settled()
    assert not second.done()
    gate.wake()
    assert await first == "a"
    second.cancel()
