"""Callers that are called back with their outcome, instead of waiting for it as a task."""

from __future__ import annotations

import asyncio
from math import inf

from tests.engine.fakes import turns
from tests.engine.loader_desk import Desk
from verifier.engine.calls import Outcome, Told
from verifier.errors import Unavailable
from verifier.wire.records import Absence


class Heard:
    """Outcomes, and whether another caller's read brought them, in the order of being told."""

    def __init__(self) -> None:
        self.all: list[tuple[Outcome, bool]] = []

    def caller(self, deadline: float = inf) -> Told:
        """One who is told."""
        return Told(lambda call: self.all.append((call.outcome, call.joined)), deadline)


def reason_of(outcome: Outcome | None) -> str:
    """Why a key could not be checked."""
    assert isinstance(outcome, Unavailable)
    return outcome.reason


async def test_callers_that_are_called_back_share_reads_with_tasks() -> None:
    """The first one's read serves all, and who joined is told so."""
    desk, first, second = Desk(), Heard(), Heard()
    assert desk.loader.load_soon("a", first.caller()) is None
    assert desk.loader.load_soon("a", second.caller()) is None
    task = await desk.begin("a")
    assert first.all == []
    await desk.finish()
    outcome = (await task).outcomes["a"]
    assert isinstance(outcome, Absence)
    assert first.all == [(outcome, False)]
    assert second.all == [(outcome, True)]
    assert desk.ledger.asked == [["a"]]


async def test_what_is_refused_is_said_at_once() -> None:
    """A full lane, or a loader that closes: nobody is called back."""
    desk, told = Desk(), Heard()
    for key in "abcde":
        assert desk.loader.load_soon(key, told.caller()) is None
        await turns()
    assert reason_of(desk.loader.load_soon("f", told.caller())) == "overloaded"
    await desk.finish()
    await desk.loader.close()
    assert reason_of(desk.loader.load_soon("g", told.caller())) == "closing"
    assert len(told.all) == 5


async def test_a_key_past_its_deadline_is_not_read() -> None:
    """It is told so when its turn comes."""
    desk, told = Desk(), Heard()
    assert desk.loader.load_soon("a", told.caller()) is None
    await turns()
    assert desk.loader.load_soon("b", told.caller(desk.clock() + 0.1)) is None
    desk.clock.now += 0.2
    await desk.finish()
    assert desk.ledger.asked == [["a"]]
    assert reason_of(told.all[1][0]) == "timeout"


async def test_an_error_of_one_caller_concerns_no_other() -> None:
    """It goes to the event loop; who shares the read is told."""
    desk, told = Desk(), Heard()
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: errors.append(context["exception"])
    )
    error = LookupError("broken")

    def broken(_: Told) -> None:
        raise error

    assert desk.loader.load_soon("a", Told(broken)) is None
    assert desk.loader.load_soon("a", told.caller()) is None
    await turns()
    await desk.finish()
    await turns()
    assert errors == [error]
    assert len(told.all) == 1
