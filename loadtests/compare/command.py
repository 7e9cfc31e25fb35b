"""``python -m loadtests compare A B``: the table, what is worse in words, and an exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from loadtests import compare as comparing
from loadtests.compare import (
    BUDGET,
    Comparison,
    Figure,
    NotComparable,
    WrongAnswers,
    agreed,
    bounds,
)
from loadtests.compare.bootstrap import CONFIDENCE
from loadtests.report.markdown import aligned
from loadtests.report.words import duration, rate, share
from loadtests.result import NoResult, read

WORSE, NOTHING_SAID = 1, 2

_ONE_ROUND = (
    "Intervals know the seconds of both runs, but not what the machine did between the two: runs "
    "taken in turns do (compare A B A B).\n"
)


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of run A and run B; more pairs when they were taken in turns."
        ),
    ],
    section: Annotated[
        str, typer.Option(help="Section of budget.toml, or of --budget, with the bounds.")
    ] = "compare",
    budget: Annotated[Path, typer.Option(help="A file of bounds.")] = BUDGET,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
) -> None:
    """Say whether run B is worse than run A, and in what.

    Exit code 1 when it is, or when a run has wrong answers; 2 when nothing can be said: a run is
    void, or they were of different loads.
    """
    if len(runs) < 2 or len(runs) % 2:
        _end(f"runs: got {len(runs)} folders, expected A B, or A B A B ...", NOTHING_SAID)
    try:
        limits = bounds(section, budget)
        found = agreed(
            [
                comparing.compare(read(a), read(b), limits, seed=seed)
                for a, b in zip(runs[::2], runs[1::2], strict=True)
            ]
        )
    except WrongAnswers as error:
        _end(str(error), WORSE)
    except (NotComparable, NoResult) as error:
        _end(f"nothing can be said: {error}", NOTHING_SAID)
    print(table(found))
    if len(runs) == 2:
        print(_ONE_ROUND)
    print(verdict(found))
    if found.worse:
        raise typer.Exit(WORSE)


def _end(said: str, code: int) -> NoReturn:
    print(said, file=sys.stderr)
    raise typer.Exit(code)


def table(found: Comparison) -> str:
    """The figures as Markdown, readable as it is."""
    interval = f"{CONFIDENCE:.0%} interval".replace("%", " %")
    rows = [("figure", "A", "B", "change", interval, "bound", "")]
    rows += [_row(figure) for figure in found.figures]
    notes = [f"- not compared: {each}" for each in found.missing]
    notes += [f"- differs: {each}" for each in found.notes]
    return "\n".join([aligned(rows, texts=1), *notes]) + "\n" * bool(notes)


def verdict(found: Comparison) -> str:
    """Whether B is worse, and in what, in words."""
    said = [f"B is worse in {_words(figure)}." for figure in found.worse]
    said = said or ["B is not worse."]
    said += [f"Not clear, longer runs would tell: {_words(each)}." for each in found.unclear]
    return "\n".join(said)


def _row(figure: Figure) -> tuple[str, str, str, str, str, str, str]:
    state = "**worse**" if figure.worse else "not clear" if figure.unclear else ""
    change = figure.change
    return (
        figure.name,
        _value(figure, figure.a),
        _value(figure, figure.b),
        _change(figure, change.value),
        f"{_change(figure, change.low)} … {_change(figure, change.high)}",
        f"{'≥' if figure.at_least else '≤'} {_change(figure, figure.bound)}",
        state,
    )


def _words(figure: Figure) -> str:
    low, high = (_change(figure, end) for end in (figure.change.low, figure.change.high))
    return (
        f"{figure.name}: {_value(figure, figure.b)} after {_value(figure, figure.a)}, "
        f"{_change(figure, figure.change.value)} ({low} to {high}) where "
        f"{_change(figure, figure.bound)} is the bound"
    )


def _value(figure: Figure, value: float) -> str:
    if figure.unit == "s":
        return duration(value) if value >= 1e-3 else f"{value * 1e6:.3g} µs"
    return rate(value) if figure.unit == "/s" else share(value)


def _change(figure: Figure, change: float) -> str:
    return f"{100 * change:+.2f} points" if figure.points else f"× {change:.2f}"
