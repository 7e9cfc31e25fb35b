"""Which stages follow each other, and how many users each second of them has."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import accumulate
from math import ceil
from typing import NamedTuple

import msgspec

from loadtests.scenario import Scenario, Stage, Traffic
from loadtests.search import Search

# Requests a second of one user: as long as it is answered within 200 ms, it keeps its pace.
USER_RATE = 5.0
# Seconds after which a request without an answer has hung.
PATIENCE = 15.0

_WARM_UP_SECONDS = 5
# Users are whole; what is a fraction only by rounding is not one more.
_ROUNDING = 1e-9


class Leg(NamedTuple):
    """Stages without a pause between them; ``step`` when a search wants to know if it was held."""

    stages: Sequence[Stage]
    step: bool = False

    @property
    def seconds(self) -> int:
        """How long all stages take."""
        return sum(stage.seconds for stage in self.stages)


def legs(scenario: Scenario, factor: float) -> Generator[Leg, bool, None]:
    """What to run, at ``factor`` times the rates. To be sent back: whether the last was held."""
    steps = scenario.steps
    if steps is None:
        yield Leg([_scaled(stage, factor) for stage in scenario.stages])
        return
    # What has just been started is not as fast as it will be.
    yield Leg([_scaled(Stage("warm-up", _WARM_UP_SECONDS, steps.first, warm_up=True), factor)])
    search = Search(steps)
    while (rate := search.rate) is not None:
        stage = _scaled(Stage(f"{rate * factor:,.0f}/s", steps.seconds, rate), factor)
        held = yield Leg([stage], step=True)
        search.book(rate, held=held)
    for times in steps.beyond if search.held else ():
        stage = Stage(f"{times:g} × the knee", steps.seconds, search.held * times)
        yield Leg([_scaled(stage, factor)])


def users(stages: Sequence[Stage], second: int) -> int | None:
    """Users of a second of these stages, from 0; None when they are over.

    A second of a ramp has those of its middle.
    """
    begin = 0
    for stage in stages:
        if second < begin + stage.seconds:
            gone = (second - begin + 0.5) / stage.seconds
            rate = stage.begin_rate + (stage.rate - stage.begin_rate) * gone
            return ceil(rate / USER_RATE - _ROUNDING)
        begin += stage.seconds
    return None


def planned(stages: Sequence[Stage]) -> float:
    """Requests that the stages are meant to have."""
    return sum((stage.begin_rate + stage.rate) / 2 * stage.seconds for stage in stages)


def cut(stages: Sequence[Stage], seconds: int) -> list[Stage]:
    """What was run of stages that were stopped after so many seconds."""
    found: list[Stage] = []
    for stage in stages:
        if seconds <= 0:
            break
        found.append(msgspec.structs.replace(stage, seconds=min(stage.seconds, seconds)))
        seconds -= stage.seconds
    return found


class Shares:
    """Which class the next request belongs to, by the parts of the stage that is on."""

    def __init__(self, scenario: Scenario) -> None:
        self._ends = list(accumulate(stage.seconds for stage in scenario.stages))
        # A search has the same parts in each step.
        self._parts = [_parts(stage, scenario.traffic) for stage in scenario.stages] or [
            _parts(None, scenario.traffic)
        ]

    def at(self, moment: float) -> list[float]:
        """The parts of each class, summed up, at a second of the run."""
        stage = sum(moment >= end for end in self._ends)
        return self._parts[min(stage, len(self._parts) - 1)]


def _parts(stage: Stage | None, traffic: Sequence[Traffic]) -> list[float]:
    own = None if stage is None else stage.parts
    return list(
        accumulate(each.parts if own is None else own.get(each.name, 0.0) for each in traffic)
    )


def _scaled(stage: Stage, factor: float) -> Stage:
    begin = None if stage.rate_at_begin is None else stage.rate_at_begin * factor
    return msgspec.structs.replace(stage, rate=stage.rate * factor, rate_at_begin=begin)
