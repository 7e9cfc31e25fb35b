"""Admission: a delay that stands is told from a burst, and what is refused while it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from tests.engine.fakes import Clock
from verifier.engine.admission import Admission
from verifier.errors import Unavailable

# Of which sums are exact.
TARGET, INTERVAL = 2**-8, 2**-3


class Loop:
    """An event loop of which only its timer is there."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._timers: list[tuple[float, Callable[[], None]]] = []

    def create_future(self) -> asyncio.Future[None]:
        """One of the loop that runs."""
        return asyncio.get_running_loop().create_future()

    def call_later(self, delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Have a timer run by ``look``."""
        self._timers.append((self._clock() + delay, callback))
        # Whoever stops it empties the list.
        return cast("asyncio.TimerHandle", self)

    def cancel(self) -> None:
        """Cancel the timer."""
        self._timers.clear()

    def look(self, late: float) -> None:
        """Run the timer so many seconds late."""
        ((due, callback),) = self._timers
        self._timers.clear()
        self._clock.now = due + late
        callback()


class Rig:
    """An admission whose loop is moved by hand."""

    def __init__(self) -> None:
        self.clock = Clock(0.0)
        self.loop = Loop(self.clock)
        self.admission = Admission(TARGET, INTERVAL, self.clock)
        self.admission.start(cast("asyncio.AbstractEventLoop", self.loop))

    def fill(self, delay: float = 2 * TARGET) -> None:
        """Let a delay stand."""
        for _ in range(20):
            self.loop.look(delay)

    def admitted(self, questions: int, seconds: float) -> int:
        """How many questions are taken in that come so many seconds apart."""
        taken = 0
        for _ in range(questions):
            taken += self.admission.admits()
            self.clock.now += seconds
        return taken


def test_a_calm_loop_admits_everything() -> None:
    """However long a round takes."""
    rig = Rig()
    for _ in range(50):
        rig.loop.look(TARGET / 2)
        assert rig.admitted(100, TARGET) == 100


def test_a_pause_of_the_machine_is_no_overload() -> None:
    """A look that is very late, between others that are not."""
    rig = Rig()
    for _ in range(3):
        rig.loop.look(10 * INTERVAL)
        assert not rig.admission.is_full
        rig.loop.look(0.0)


def test_a_delay_stands_when_it_was_not_once_short() -> None:
    """For the whole interval, and not before."""
    rig = Rig()
    rig.loop.look(2 * TARGET)
    begun = rig.clock()
    while not rig.admission.is_full:
        rig.loop.look(1.1 * TARGET)
    assert INTERVAL <= rig.clock() - begun < INTERVAL + 0.02


def test_one_short_delay_ends_it() -> None:
    """The queue has been worked off."""
    rig = Rig()
    rig.fill()
    rig.loop.look(0.9 * TARGET)
    assert not rig.admission.is_full


@pytest.mark.parametrize("times", [2, 10])
def test_of_each_delay_questions_are_taken_in_for_as_long_as_the_target(times: int) -> None:
    """The first ones of each; one at least, however long it takes."""
    rig = Rig()
    rig.fill(times * TARGET)
    assert rig.admitted(3 * times * 8, TARGET / 8) == 3 * 8
    assert rig.admitted(5, times * TARGET) == 5


def test_who_was_not_heard_has_waited_as_well() -> None:
    """Though the event loop is not late at all."""
    rig = Rig()
    for _ in range(20):
        rig.admission.waited(2 * TARGET)
        rig.admission.waited(TARGET)
        rig.loop.look(0.0)
    assert rig.admission.is_full
    assert (rig.admission.late, rig.admission.delay) == (0.0, 2 * TARGET)
    rig.loop.look(0.0)
    assert not rig.admission.is_full


def test_bulk_waits_for_better_times() -> None:
    """It is refused as a whole."""
    rig = Rig()
    rig.admission.check_bulk()
    rig.fill()
    with pytest.raises(Unavailable, match="overloaded"):
        rig.admission.check_bulk()


def test_those_who_are_refused_do_not_come_back_together() -> None:
    """Each is told a time of its own, of a few seconds."""
    rig = Rig()
    told = {rig.admission.refusal().retry_after for _ in range(200)}
    assert told == {1, 2, 3}


def test_who_stops_admits_what_still_comes() -> None:
    """A drain answers those who are there."""
    rig = Rig()
    rig.fill()
    rig.admission.stop()
    assert rig.admitted(100, TARGET) == 100


async def waits(rig: Rig, *, people: bool = True) -> asyncio.Task[None]:
    """Bulk that wants to go on beside people who ask, and has begun to wait if it has to."""
    if people:
        rig.admission.admits()
    task = asyncio.create_task(rig.admission.calm())
    await asyncio.sleep(0)
    return task


async def goes_on(task: asyncio.Task[None]) -> bool:
    """Whether it has stopped waiting."""
    await asyncio.sleep(0)
    return task.done()


async def test_bulk_goes_on_when_nobody_waits() -> None:
    """At once."""
    rig = Rig()
    rig.loop.look(TARGET / 8)
    assert await goes_on(await waits(rig))


async def test_bulk_waits_while_people_do() -> None:
    """Until a look finds no delay that they would notice, long before the loop is overloaded."""
    rig = Rig()
    rig.loop.look(TARGET)
    bulk = await waits(rig)
    rig.loop.look(TARGET)
    assert not await goes_on(bulk)
    rig.loop.look(0.0)
    assert await goes_on(bulk)


async def test_bulk_waits_for_nobody_when_nobody_asks() -> None:
    """However late the event loop is: it is late for bulk alone."""
    rig = Rig()
    rig.loop.look(TARGET)
    assert await goes_on(await waits(rig, people=False))
    rig.admission.admits()
    rig.loop.look(TARGET)
    assert not await goes_on(await waits(rig, people=False))
    rig.loop.look(TARGET)
    assert await goes_on(await waits(rig, people=False))


async def test_bulk_never_waits_for_long() -> None:
    """However long the delay stands, every few looks a piece of it goes on."""
    rig = Rig()
    rig.loop.look(TARGET)
    for _ in range(3):
        bulk = await waits(rig)
        looks = 0
        while not await goes_on(bulk):
            rig.loop.look(TARGET)
            looks += 1
        assert looks == 3


async def test_who_stops_lets_bulk_go_on() -> None:
    """A drain finishes what is under way."""
    rig = Rig()
    rig.loop.look(TARGET)
    bulk = await waits(rig)
    rig.admission.stop()
    assert await goes_on(bulk)
    assert await goes_on(await waits(rig))
