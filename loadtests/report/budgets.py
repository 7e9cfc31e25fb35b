"""Which stages of a run count, where its knee is, and what they leave of the latency budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from loadtests.report.words import duration
from loadtests.result import Cell, Result, StageRun


class Tail(NamedTuple):
    """The p99 of a class in a stage, and its budget; both seconds. None: nothing was answered."""

    stage: StageRun
    name: str
    p99: float | None
    budget: float

    @property
    def used(self) -> float:
        """How much of the budget it takes; 1 is all of it."""
        return float("inf") if self.p99 is None else self.p99 / self.budget

    def __str__(self) -> str:
        found = "none answered" if self.p99 is None else duration(self.p99)
        return f"of {self.name} {found} (budget {duration(self.budget)})"


class Knee(NamedTuple):
    """Requests a second of a run in steps, each None when there is no such step.

    ``held`` is the highest that was held, ``broken`` the lowest above it that was not, ``within``
    the highest that was held with every class within its budget.
    """

    held: float | None
    broken: float | None
    within: float | None


def budget(result: Result) -> Mapping[str, float]:
    """The p99 that each class may have, in seconds; a class that is not in it may have any."""
    given: Mapping[str, float] = result.configuration.get("p99", {})
    return given


def in_steps(result: Result) -> bool:
    """Whether the run went up in steps, each of which was held or not."""
    return any(stage.held is not None for stage in result.stages)


def measured(result: Result) -> list[StageRun]:
    """The stages without the warm-up."""
    return [stage for stage in result.stages if not stage.warm_up]


def judged(result: Result) -> list[StageRun]:
    """The stages that the service has to carry: of a run in steps, those that were held."""
    steps = in_steps(result)
    return [stage for stage in measured(result) if stage.held or not steps]


def total(result: Result, stages: Iterable[StageRun]) -> Cell:
    """All classes of some stages."""
    whole = Cell()
    for stage in stages:
        for cell in result.merged(stage.begin, stage.end).values():
            whole.merge(cell)
    return whole


def tails(result: Result, stages: Iterable[StageRun]) -> list[Tail]:
    """Each class that has a budget, in each stage that asked it."""
    allowed = budget(result)
    found = []
    for stage in stages:
        for name, cell in sorted(result.merged(stage.begin, stage.end).items()):
            if name in allowed and cell.offered:
                p99 = cell.latency.percentile(0.99) if cell.answered else None
                found.append(Tail(stage, name, p99, allowed[name]))
    return found


def worst(found: Iterable[Tail]) -> list[Tail]:
    """Of each class its worst stage: a run is within its budget when all of its stages are."""
    by_class: dict[str, Tail] = {}
    for tail in found:
        if tail.name not in by_class or tail.used > by_class[tail.name].used:
            by_class[tail.name] = tail
    return list(by_class.values())


def knee(result: Result) -> Knee:
    """Where a run in steps has its knee."""
    held = [stage for stage in result.stages if stage.held]
    most = max((stage.rate for stage in held), default=None)
    broken = min(
        (
            stage.rate
            for stage in result.stages
            if stage.held is False and (most is None or stage.rate > most)
        ),
        default=None,
    )
    missed = {tail.stage.begin for tail in tails(result, held) if tail.used > 1}
    within = max((stage.rate for stage in held if stage.begin not in missed), default=None)
    return Knee(most, broken, within)


def told(result: Result) -> list[StageRun]:
    """The stages that the headline is about: of a run in steps, the highest that is good enough."""
    stages = judged(result)
    if not in_steps(result):
        return stages
    found = knee(result)
    most = found.held if found.within is None else found.within
    return [stage for stage in stages if stage.rate == most]
