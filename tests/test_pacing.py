"""Turns of bulk work: what others wait for does not grow with the number of batches."""

from __future__ import annotations

import asyncio
from itertools import count, pairwise
from types import SimpleNamespace

import pytest

from tests.support import other_work
from verifier.pacing import Pace, Turns


async def rounds_between_pieces(turns: Turns) -> list[int]:
    """How many rounds of the loop lie between any two of 100 pieces by 20 that take turns."""
    at: list[int] = []

    async def bulk() -> None:
        for _ in range(5):
            await turns.next()
            at.append(other["rounds"])

    async with other_work() as other:
        await asyncio.gather(*(bulk() for _ in range(20)))
    assert len(at) == 100
    return [later - earlier for earlier, later in pairwise(at)]


async def test_c15_between_two_pieces_of_bulk_the_loop_goes_round() -> None:
    """However many take turns, other work runs between any two pieces."""
    assert min(await rounds_between_pieces(Turns())) >= 1


async def test_c15_many_leave_a_question_its_rounds_between_two_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A question runs from its arrival to its answer behind one piece, not one in each round."""
    # Rounds that take no time, however busy this machine is.
    clock = SimpleNamespace(time=lambda: 0.0)
    monkeypatch.setattr("verifier.pacing.get_running_loop", lambda: clock)
    # Towards the end few are left.
    assert min((await rounds_between_pieces(Turns()))[:-10]) >= 4


async def test_where_rounds_are_long_bulk_goes_on_in_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else questions that fill the service would keep all bulk out."""
    moments = count()
    clock = SimpleNamespace(time=lambda: next(moments) / 1_000)
    monkeypatch.setattr("verifier.pacing.get_running_loop", lambda: clock)
    assert max(await rounds_between_pieces(Turns())) <= 2


@pytest.mark.parametrize(("others", "piece"), [(0.0, 0.000_1), (0.002, 0.000_25), (1.0, 0.000_5)])
async def test_where_others_take_long_pieces_are_longer(
    others: float, piece: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An eighth of what the others took, within bounds: else bulk would hardly go on."""
    now = 0.0
    monkeypatch.setattr(
        "verifier.pacing.get_running_loop", lambda: SimpleNamespace(time=lambda: now)
    )
    pace = Pace(Turns())
    now += 1.0
    waiting = asyncio.create_task(pace.give_way())
    await asyncio.sleep(0)
    now += others
    await waiting
    async with other_work() as other:
        now += 0.9 * piece
        await pace.give_way()
        assert other["rounds"] == 0
        now += 0.2 * piece
        await pace.give_way()
        assert other["rounds"] > 0


async def test_a_cancelled_wait_for_a_turn_is_over() -> None:
    """It makes nobody wait for more rounds, nor for ever."""
    turns = Turns()
    waits = [asyncio.create_task(turns.next()) for _ in range(20)]
    await asyncio.sleep(0)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    async with other_work() as other:
        await asyncio.sleep(0)
        before = other["rounds"]
        await turns.next()
        assert other["rounds"] - before == 1


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
