"""C18: many deadlines at once keep nobody else waiting."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from verifier.api.server.deadlines import Deadlines


class Waiting:
    """Something with a deadline, and how many had passed theirs before it."""

    def __init__(self, told: list[Waiting]) -> None:
        self.told = told

    def is_late(self) -> None:
        """Note it."""
        self.told.append(self)


def made(count: int) -> tuple[list[Waiting], list[Waiting]]:
    """So many, and the list of those that were told."""
    told: list[Waiting] = []
    return [Waiting(told) for _ in range(count)], told


async def all_told(told: list[Waiting], count: int) -> None:
    """Return when so many were told, within a bound."""
    async with asyncio.timeout(5):
        while len(told) < count:
            await asyncio.sleep(0)


async def test_all_are_told_in_the_order_in_which_they_were_set() -> None:
    """None is forgotten, however many have the same moment."""
    members, told = made(1_000)
    deadlines = Deadlines(0.01, asyncio.get_running_loop())
    for member in members:
        deadlines.set(member)
    await all_told(told, 1_000)
    assert told == members


async def test_c18_others_run_while_thousands_are_told() -> None:
    """In one round of the event loop a few are told, not all."""
    members, told = made(1_000)
    deadlines = Deadlines(0.01, asyncio.get_running_loop())
    for member in members:
        deadlines.set(member)
    rounds: list[int] = []
    while len(told) < 1_000:
        await asyncio.sleep(0)
        rounds.append(len(told))
    assert max(b - a for a, b in pairwise(rounds)) <= 20


async def test_one_that_was_dropped_is_not_told() -> None:
    """Dropping one leaves the others as they are."""
    members, told = made(3)
    deadlines = Deadlines(0.01, asyncio.get_running_loop())
    for member in members:
        deadlines.set(member)
    deadlines.drop(members[0])
    deadlines.drop(members[0])
    await all_told(told, 2)
    assert told == members[1:]


async def test_one_that_is_set_again_begins_anew() -> None:
    """It is told after those that were set in between, and once."""
    members, told = made(2)
    deadlines = Deadlines(0.01, asyncio.get_running_loop())
    for member in [*members, members[0]]:
        deadlines.set(member)
    await all_told(told, 2)
    await asyncio.sleep(0.02)
    assert told == [members[1], members[0]]


async def test_one_that_is_set_after_all_were_told_is_told_too() -> None:
    """The watch starts again."""
    members, told = made(2)
    deadlines = Deadlines(0.01, asyncio.get_running_loop())
    for count, member in enumerate(members, 1):
        deadlines.set(member)
        await all_told(told, count)
    assert told == members
