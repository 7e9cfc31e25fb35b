"""Tests of waiting for a channel."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from verifier.errors import Unavailable
from verifier.ledger.lookup.gate import Gate, Wish
from verifier.state import Position


class FakeTarget:
    """A target whose channels are strings."""

    def __init__(self, *free: str) -> None:
        self.free = list(free)
        self.serving = True
        self.gate = Gate(cast("Any", self.take), 3)

    def take(self, wish: Wish) -> tuple[FakeTarget, str] | None:
        """Give a channel or None, as Lookup does."""
        if not self.serving:
            raise Unavailable("no_database")
        return (self, self.free.pop()) if self.free else None

    def give_back(self, channel: str) -> None:
        """Have a channel free, as after a query."""
        self.free.append(channel)
        self.gate.wake()

    async def enter(self, deadline: float = 10.0) -> str:
        """Wait for a channel."""
        grant: Any = await self.gate.enter(deadline)
        return str(grant[1])


async def settled() -> None:
    """Let all tasks run until they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_free_channel_is_given_at_once() -> None:
    """Whoever finds a channel free does not wait."""
    assert await FakeTarget("a").enter() == "a"


async def test_waiters_are_served_in_order() -> None:
    """Who waits longest gets the channel that becomes free."""
    target = FakeTarget()
    tasks = [asyncio.create_task(target.enter()) for _ in range(3)]
    await settled()
    for name in "abc":
        target.give_back(name)
    assert [await task for task in tasks] == ["a", "b", "c"]


async def test_too_many_waiters_are_refused() -> None:
    """Beyond the bound nobody waits."""
    target = FakeTarget()
    tasks = [asyncio.create_task(target.enter()) for _ in range(3)]
    await settled()
    with pytest.raises(Unavailable, match=r"^overloaded$"):
        await target.enter()
    for task in tasks:
        task.cancel()


async def test_waiting_ends_at_the_deadline() -> None:
    """A sweep after the deadline ends the wait; others go on waiting."""
    target = FakeTarget()
    early, late = (asyncio.create_task(target.enter(at)) for at in (1.0, 2.0))
    await settled()
    target.gate.sweep(1.5)
    await settled()
    assert not late.done()
    with pytest.raises(Unavailable, match=r"^overloaded$"):
        await early
    late.cancel()


async def test_the_deadline_itself_is_still_in_time() -> None:
    """Who waits until a moment has not waited too long at that moment."""
    target = FakeTarget()
    task = asyncio.create_task(target.enter(1.0))
    await settled()
    target.gate.sweep(1.0)
    target.give_back("a")
    assert await task == "a"


async def test_all_who_wait_for_nothing_are_told() -> None:
    """Not the first of them alone."""
    target = FakeTarget()
    tasks = [asyncio.create_task(target.enter()) for _ in range(3)]
    await settled()
    target.serving = False
    async with asyncio.timeout(1):
        target.gate.wake()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["no_database"] * 3


async def test_sweep_serves_before_it_refuses() -> None:
    """A channel that is free at the sweep goes to who waits, even if the deadline has passed."""
    target = FakeTarget()
    task = asyncio.create_task(target.enter(1.0))
    await settled()
    target.free.append("a")
    target.gate.sweep(5.0)
    assert await task == "a"


async def test_waiting_ends_when_there_is_nothing_to_wait_for() -> None:
    """When the last database goes, a sweep tells those who wait."""
    target = FakeTarget()
    task = asyncio.create_task(target.enter())
    await settled()
    target.serving = False
    target.gate.sweep(0.0)
    with pytest.raises(Unavailable, match="no_database"):
        await task


async def test_cancelled_waiter_passes_its_channel_on() -> None:
    """A waiter that is cancelled just when it is served does not lose the channel for the next."""
    target = FakeTarget()
    first, second = (asyncio.create_task(target.enter()) for _ in range(2))
    await settled()
    target.give_back("a")
    first.cancel()
    await settled()
    assert first.cancelled()
    assert await second == "a"
    assert target.free == []


async def test_cancelled_waiter_is_passed_over() -> None:
    """A waiter that was cancelled before gets no channel."""
    target = FakeTarget()
    first, second = (asyncio.create_task(target.enter()) for _ in range(2))
    await settled()
    first.cancel()
    await settled()
    target.give_back("a")
    assert await second == "a"


async def test_busy_caller_does_not_starve_who_waits() -> None:
    """A caller that comes back at once queues behind those who waited before it."""
    target = FakeTarget("a")
    served: list[str] = []

    async def ask(name: str, times: int) -> None:
        for _ in range(times):
            channel = await target.enter()
            served.append(name)
            await settled()
            target.give_back(channel)

    busy = asyncio.create_task(ask("busy", 5))
    await settled()
    await asyncio.gather(busy, ask("patient", 1))
    assert served.index("patient") <= 2


async def test_a_full_gate_still_serves_who_need_not_wait() -> None:
    """Those who wait for what is not there refuse nobody whose wish can be granted."""
    target = FakeTarget()
    tasks = [asyncio.create_task(target.enter()) for _ in range(3)]
    await settled()
    target.free += "abcd"
    assert await target.enter() == "a"
    assert sorted([await task for task in tasks]) == ["b", "c", "d"]


async def test_who_has_given_up_does_not_count() -> None:
    """A waiter that was cancelled takes no place."""
    target = FakeTarget()
    tasks = [asyncio.create_task(target.enter()) for _ in range(3)]
    await settled()
    for task in tasks:
        task.cancel()
    await settled()
    waiting = asyncio.create_task(target.enter())
    await settled()
    target.give_back("a")
    assert await waiting == "a"


async def test_who_waits_keeps_its_wish() -> None:
    """What is asked for when a channel becomes free is what the caller asked for."""
    wishes: list[Wish] = []
    grants: list[Any] = []

    def take(wish: Wish) -> Any:
        wishes.append(wish)
        return grants.pop() if grants else None

    gate, wish = Gate(take, 1), Wish(None, Position(1, 2))
    waiting = asyncio.create_task(gate.enter(10.0, wish))
    await settled()
    grants.append(("target", "channel"))
    gate.wake()
    await waiting
    assert wishes == [wish, wish]


async def test_who_is_cancelled_while_being_refused_is_cancelled() -> None:
    """The refusal comes too late: whoever cancelled it waits for the end of it."""
    target = FakeTarget()
    task = asyncio.create_task(target.enter())
    await settled()
    target.serving = False
    target.gate.wake()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
