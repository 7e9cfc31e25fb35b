"""Is run B worse than run A, and in what? Figures with intervals, against budget.toml's bounds.

Compared are the stages that both runs have, without the warm-up. Of runs in steps they are those
that A held; latencies only well below its knee, next to which a hundredth of load is a tenth of
latency. A figure is worse when its whole interval lies beyond its bound.

loads (may they be compared?) · seconds (side by side) · bootstrap (how sure a figure is) · figures
(what is compared) · command (the table, and the exit code).
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import msgspec
import numpy as np

from loadtests.compare.bootstrap import DRAWS, SHORTEST, Spread
from loadtests.compare.figures import Bounds, Figure, Figures
from loadtests.compare.loads import NotComparable, WrongAnswers, notes, refuse, spelled
from loadtests.compare.seconds import Pair, Seconds
from loadtests.report.budgets import in_steps, judged, knee, measured
from loadtests.result import Result, StageRun

__all__ = [
    "BUDGET",
    "Bounds",
    "Comparison",
    "Figure",
    "NotComparable",
    "WrongAnswers",
    "agreed",
    "bounds",
    "compare",
]

BUDGET = Path(__file__).parent.parent / "budget.toml"

# Of the knee: where latencies are compared.
_CALM = 0.8


class Comparison(msgspec.Struct):
    """All figures; in words what could not be compared, and what else differs between the runs."""

    figures: list[Figure]
    missing: list[str]
    notes: list[str]

    @property
    def worse(self) -> list[Figure]:
        """The figures in which B is worse."""
        return [figure for figure in self.figures if figure.worse]

    @property
    def unclear(self) -> list[Figure]:
        """The figures in which it may be."""
        return [figure for figure in self.figures if figure.unclear]


def bounds(section: str = "compare", file: Path = BUDGET) -> Bounds:
    """A section of budget.toml. NotComparable when there is none, or it is not complete."""
    try:
        return msgspec.convert(tomllib.loads(file.read_text())[section], Bounds)
    except KeyError:
        raise NotComparable(f"{file.name}: there is no section [{section}]") from None
    except (msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        raise NotComparable(f"{file.name}, section [{section}]: {error}") from error
    except OSError as error:
        raise NotComparable(f"{file}: {error.strerror}") from error


def compare(
    a: Result, b: Result, limits: Bounds, *, seed: int = 0, draws: int = DRAWS
) -> Comparison:
    """Compare two runs of one load. NotComparable and WrongAnswers say why that cannot be."""
    refuse(a, b)
    random = np.random.default_rng(seed)
    pairs = _pairs(a, b)
    if not pairs:
        raise NotComparable(
            f"no stage of at least {SHORTEST} s is in both runs, of the same rate and length, and "
            "held by A"
        )
    seconds = Seconds(a, b, pairs, random, draws)
    figures = Figures(limits)
    calm = [pair for pair in pairs if _calm(a, pair[0])]
    if calm:
        figures.latencies(Seconds(a, b, calm, random, draws), a.classes)
    else:
        figures.missing.append(f"latency: no stage below {_CALM:.0%} of A's knee is in both runs")
    figures.shares(seconds, a.classes)
    figures.cpu(seconds)
    if in_steps(a):
        figures.knee(a, b)
        if beyond := _beyond(a, b):
            at_knee = Seconds(a, b, [(_at_knee(a), _at_knee(b))], random, draws)
            figures.past_knee(Seconds(a, b, beyond, random, draws), at_knee)
    return Comparison(figures.found, figures.missing, list(notes(a, b)))


def agreed(rounds: Sequence[Comparison]) -> Comparison:
    """Several comparisons, of runs taken in turns, as one: B is worse in what it is in each round.

    The interval of a figure reaches from the lowest end to the highest, so that it holds what the
    machine did between the runs as well. What a round could not compare is not compared.
    """
    first = rounds[0]
    figures = []
    for figure in first.figures:
        same = [
            each for compared in rounds for each in compared.figures if each.name == figure.name
        ]
        if len(same) == len(rounds):
            figures.append(_agreed(same))
    missing = {text: None for compared in rounds for text in compared.missing}
    return Comparison(figures, list(missing), first.notes)


def _agreed(same: Sequence[Figure]) -> Figure:
    return msgspec.structs.replace(
        same[0],
        a=median(each.a for each in same),
        b=median(each.b for each in same),
        change=Spread(
            median(each.change.value for each in same),
            min(each.change.low for each in same),
            max(each.change.high for each in same),
        ),
    )


def _pairs(a: Result, b: Result) -> list[Pair]:
    """The stages that both have; of runs in steps, the steps that A held."""
    theirs = {spelled(stage): stage for stage in measured(b)}
    return [
        (stage, theirs[said])
        for stage in judged(a)
        if (said := spelled(stage)) in theirs and _seconds(stage) >= SHORTEST
    ]


def _calm(a: Result, stage: StageRun) -> bool:
    held = knee(a).held
    return held is None or stage.rate <= _CALM * held


def _beyond(a: Result, b: Result) -> list[Pair]:
    """Stages of both at so many times the knee of each, above it."""
    theirs = {stage.name: stage for stage in _past_knee(b)}
    return [
        (stage, other)
        for stage in _past_knee(a)
        if (other := theirs.get(stage.name)) and _seconds(stage) == _seconds(other)
    ]


def _past_knee(run: Result) -> list[StageRun]:
    held = knee(run).held
    return [
        stage
        for stage in measured(run)
        if stage.held is None and held is not None and stage.rate > held
    ]


def _at_knee(run: Result) -> StageRun:
    return max((stage for stage in run.stages if stage.held), key=lambda stage: stage.rate)


def _seconds(stage: StageRun) -> int:
    return stage.end - stage.begin
