"""Rounds of the event loop end, though clients ask again as soon as they have their answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import Mock

import pytest

from tests.api.test_desk import asking, connected, waits
from tests.api.twins import Line, Side, rounds
from verifier.api.server.rounds import LONG, LOOK, Rounds

# As in rounds.py.
HEARD = 256


@pytest.fixture
async def side() -> AsyncIterator[Side]:
    """Run a server that knows the head of a question, and its answer."""
    side = Side(1_000)
    await side.start()
    line = await connected(side)
    for _ in range(3):
        line.protocol.data_received(asking(b"{}"))
        await rounds(20)
    line.close()
    yield side
    await side.runner.cleanup()


def ask_within_one_round(line: Line, times: int) -> None:
    """Send questions before anything else has its turn."""
    for _ in range(times):
        line.protocol.data_received(asking(b"{}"))


def rests(line: Line) -> bool:
    """Whether the server does not hear it."""
    return line.paused


async def test_who_asks_on_and_on_within_a_round_is_heard_again_in_the_next(side: Side) -> None:
    """And what it asks then is answered."""
    line = await connected(side)
    ask_within_one_round(line, LONG)
    assert rests(line)
    await rounds(1)
    assert not rests(line)
    assert waits(line.protocol)
    ask_within_one_round(line, 1)
    assert line.said.count(b"HTTP/1.1 422 ") == LONG + 1


async def test_nobody_rests_while_rounds_are_short(side: Side) -> None:
    """As many questions as one likes, some in each round."""
    line = await connected(side)
    for _ in range(10):
        ask_within_one_round(line, LONG // 3)
        assert not line.paused
        await rounds(1)


async def test_who_goes_while_resting_is_let_go(side: Side) -> None:
    """The end of the round does not touch its connection."""
    line, other = await connected(side), await connected(side)
    ask_within_one_round(line, LONG)
    ask_within_one_round(other, 1)
    line.close()
    assert rests(line)
    assert rests(other)
    await rounds(2)
    assert rests(line)
    assert not rests(other)


async def test_of_many_some_are_heard_in_each_round(side: Side) -> None:
    """In their order, and who was answered meanwhile comes behind them."""
    lines = [await connected(side) for _ in range(2 * HEARD + 1)]
    # Past this the end of the round is looked for.
    side.desk.rounds.answered = LOOK - 1
    ask_within_one_round(await connected(side), 1)
    side.desk.rounds.answered = LONG
    for line in lines:
        ask_within_one_round(line, 1)
    assert all(map(rests, lines))
    await rounds(1)
    assert [rests(line) for line in lines] == [at >= HEARD for at in range(len(lines))]
    ask_within_one_round(lines[0], 1)
    await rounds(1)
    assert [at for at, line in enumerate(lines) if rests(line)] == [0, 2 * HEARD]
    await rounds(1)
    assert not any(map(rests, lines))


async def test_who_cannot_be_heard_again_keeps_nobody_else_from_it(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is reported, and the others have their turns."""
    lines = [await connected(side) for _ in range(HEARD)]
    ask_within_one_round(await connected(side), LOOK)
    side.desk.rounds.answered = LONG
    for line in lines:
        ask_within_one_round(line, 1)
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: reported.append(what))
    monkeypatch.setattr(lines[3], "resume_reading", Mock(side_effect=KeyError))
    await rounds(2)
    assert [at for at, line in enumerate(lines) if rests(line)] == [3]
    assert [type(what["exception"]) for what in reported] == [KeyError]


async def test_the_time_of_resting_is_told() -> None:
    """Of who has rested longest, for each round."""
    side, told = Side(1_000), list[float]()
    side.desk.rounds = Rounds(side.clock, told.append)
    await side.start()
    line, other = await connected(side), await connected(side)
    for _ in range(3):
        # The head becomes known, past which no question comes here.
        line.protocol.data_received(asking(b"{}"))
        await rounds(20)
    ask_within_one_round(line, LONG)
    side.clock.now += 0.5
    ask_within_one_round(other, 1)
    side.clock.now += 0.25
    await rounds(1)
    assert told == [0.75]
    await side.runner.cleanup()
