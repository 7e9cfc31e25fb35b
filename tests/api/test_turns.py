"""Turns of bulk work: what others wait for does not grow with the number of batches."""

from __future__ import annotations

import asyncio
from itertools import count, groupby, pairwise
from types import SimpleNamespace

import pytest

from verifier.api.turns import Turns


async def test_c15_between_two_pieces_of_bulk_the_loop_goes_round() -> None:
    """However many take turns, other work runs between any two pieces."""
    turns = Turns()
    done: list[str] = []

    async def bulk(pieces: int) -> None:
        for _ in range(pieces):
            await turns.next()
            done.append("bulk")

    async def other() -> None:
        while True:
            done.append("other")
            await asyncio.sleep(0)

    others = asyncio.create_task(other())
    await asyncio.gather(*(bulk(5) for _ in range(20)))
    others.cancel()
    assert done.count("bulk") == 100
    assert ("bulk", "bulk") not in list(pairwise(done))


async def test_c15_many_leave_a_question_its_rounds_between_two_pieces() -> None:
    """A question runs from its arrival to its answer behind one piece, not one in each round."""
    turns = Turns()
    done: list[str] = []

    async def bulk() -> None:
        for _ in range(5):
            await turns.next()
            done.append("bulk")

    async def other() -> None:
        while True:
            done.append("other")
            await asyncio.sleep(0)

    others = asyncio.create_task(other())
    await asyncio.gather(*(bulk() for _ in range(20)))
    others.cancel()
    between = [len(list(run)) for what, run in groupby(done) if what == "other"]
    # Towards the end few are left.
    assert min(between[1:-10]) >= 4


async def test_where_rounds_are_long_bulk_goes_on_in_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else questions that fill the service would keep all bulk out."""
    turns = Turns()
    moments = count()
    clock = SimpleNamespace(time=lambda: next(moments) / 1_000)
    monkeypatch.setattr("verifier.api.turns.get_running_loop", lambda: clock)
    done: list[str] = []

    async def bulk() -> None:
        for _ in range(5):
            await turns.next()
            done.append("bulk")

    async def other() -> None:
        while True:
            done.append("other")
            await asyncio.sleep(0)

    others = asyncio.create_task(other())
    await asyncio.gather(*(bulk() for _ in range(20)))
    others.cancel()
    between = [len(list(run)) for what, run in groupby(done) if what == "other"]
    assert max(between[1:]) <= 2


async def test_a_cancelled_wait_for_a_turn_is_over() -> None:
    """It makes nobody wait for more rounds, nor for ever."""
    turns = Turns()
    waits = [asyncio.create_task(turns.next()) for _ in range(20)]
    await asyncio.sleep(0)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    rounds = 0

    async def other() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(other())
    await asyncio.sleep(0)
    before = rounds
    await turns.next()
    others.cancel()
    assert rounds - before == 1


async def test_whoever_waits_longest_is_next() -> None:
    """Turns go round: nobody has a second one before all who wait had theirs."""
    turns = Turns()
    order: list[int] = []

    async def bulk(number: int) -> None:
        for _ in range(3):
            await turns.next()
            order.append(number)

    await asyncio.gather(*(bulk(number) for number in range(4)))
    assert order == [0, 1, 2, 3] * 3
