"""Whether two runs carried the same load, and both count: else there is nothing to compare."""

from __future__ import annotations

from collections.abc import Iterator

from loadtests.report.budgets import in_steps, measured
from loadtests.result import Result, StageRun

# What makes a load what it is: runs that differ in it were asked something else.
_LOAD = ("rate", "arrivals", "mix", "zipf", "pick", "distinct", "rows", "part")


class NotComparable(Exception):
    """Nothing can be said of the two runs; the message says why."""


class WrongAnswers(Exception):
    """A run has wrong answers, beside which no figure counts; the message says how many."""


def refuse(a: Result, b: Result) -> None:
    """Raise WrongAnswers or NotComparable unless both runs count and carried the same load."""
    for name, run in (("A", a), ("B", b)):
        whole = run.total
        if whole.wrong:
            first = f"; the first: {run.wrong[0]}" if run.wrong else ""
            answers = f"{whole.wrong:,} of {whole.right + whole.wrong:,} answers"
            raise WrongAnswers(f"run {name}: {answers} were wrong{first}")
    for name, run in (("A", a), ("B", b)):
        if run.void:
            raise NotComparable(f"run {name} does not count: {run.void}")
    if differences := list(_differences(a, b)):
        raise NotComparable("the runs were of different loads: " + "; ".join(differences))


def _differences(a: Result, b: Result) -> Iterator[str]:
    if a.scenario != b.scenario:
        yield f"scenario {a.scenario} and {b.scenario}"
        return
    for name in sorted(a.classes.keys() | b.classes.keys()):
        if a.classes.get(name) != b.classes.get(name):
            yield f"class {name} {_class(a, name)} and {_class(b, name)}"
    for name in _LOAD:
        mine, theirs = a.configuration.get(name), b.configuration.get(name)
        if mine != theirs:
            yield f"{name} {mine} and {theirs}"
    if in_steps(a) != in_steps(b):
        yield "only one of them is in steps"
    elif not in_steps(a):
        mine, theirs = (", ".join(map(spelled, measured(run))) for run in (a, b))
        if mine != theirs:
            yield f"stages {mine} and {theirs}"


def _class(run: Result, name: str) -> str:
    info = run.classes.get(name)
    return f"({info.endpoint} of {info.items} within {info.within:g} s)" if info else "(none)"


def spelled(stage: StageRun) -> str:
    """A stage in words, equal for equal ones: its name, rate and length."""
    ramp = "" if stage.rate_at_begin == stage.rate else f"{stage.rate_at_begin:g} to "
    return f"{stage.name} ({ramp}{stage.rate:g}/s, {stage.end - stage.begin} s)"


def notes(a: Result, b: Result) -> Iterator[str]:
    """What else differs: it may be what is compared, or what spoils the comparison."""
    if a.commit != b.commit:
        yield f"commit: {a.commit} and {b.commit}"
    for title, mine, theirs in (
        ("", a.environment, b.environment),
        ("configuration ", a.configuration, b.configuration),
    ):
        for name in sorted(mine.keys() | theirs.keys()):
            if name not in _LOAD and mine.get(name) != theirs.get(name):
                yield f"{title}{name}: {mine.get(name)} and {theirs.get(name)}"
