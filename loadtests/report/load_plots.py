"""What the service did at each offered load: latency, and what came through."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.report.budgets import budget, in_steps, knee, measured
from loadtests.report.style import (
    BAD,
    BUDGET,
    COLOURS,
    GOOD,
    INK,
    MUTED,
    NARROW,
    counts,
    milliseconds,
)
from loadtests.report.words import duration, rate
from loadtests.result import Cell, Result, StageRun

_SHOWN = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


class _Point(NamedTuple):
    """A stage; loads as they were offered, a second."""

    stage: StageRun
    cells: dict[str, Cell]
    requests: float
    questions: float


def latency(result: Result) -> Figure:
    """p50, p99 and p99.9 of each class against requests offered, with the knee and the budget."""
    points = _points(result)
    names = [name for name in result.classes if any(name in point.cells for point in points)]
    figure = Figure(figsize=(NARROW, 0.9 + 2.6 * max(1, len(names))), layout="constrained")
    every = figure.subplots(max(1, len(names)), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(every, names, strict=False):
        _latency(axes, name, points, joined=in_steps(result))
        allowed = budget(result).get(name)
        if allowed is not None:
            axes.axhline(allowed * 1e3, color=BUDGET, linestyle="--", linewidth=1.2)
            axes.set_title(f"- - budget of p99: {duration(allowed)}", loc="right", color=BUDGET)
        milliseconds(axes, "latency (ms)")
        if len(names) > 1:
            axes.set_title(name, loc="left", fontweight="bold")
        # Room for words below all points.
        axes.set_ylim(bottom=axes.get_ylim()[0] / 1.6)
        _knee(axes, result, places={each.stage.rate: each.requests for each in points}, top=False)
    every[-1].set_xlabel("offered (requests/s)")
    _from_zero(every[-1], [point.requests for point in points])
    counts(every[-1], x=True)
    if names:
        figure.legend(*every[0].get_legend_handles_labels(), loc="outside upper left", ncols=4)
    return figure


def _latency(axes: Axes, name: str, points: list[_Point], *, joined: bool) -> None:
    shown = [point for point in points if name in point.cells and point.cells[name].answered]
    x = [point.requests for point in shown]
    for colour, (label, wanted) in zip(COLOURS, _SHOWN.items(), strict=False):
        y = [point.cells[name].latency.percentile(wanted) * 1e3 for point in shown]
        axes.plot(x, y, "o-" if joined else "o", color=colour, label=label)


def goodput(result: Result) -> Figure:
    """Questions answered right and in time, and refused ones, against questions offered."""
    points = _points(result)
    joined = in_steps(result)
    figure = Figure(figsize=(NARROW, 3.9), layout="constrained")
    axes = figure.subplots()
    x = [point.questions for point in points]
    series = {
        "goodput": (GOOD, "o", [_rate(point, "good") for point in points]),
        "refused": (BAD, "s", [_rate(point, "refused_questions") for point in points]),
    }
    most = max(x, default=0.0)
    axes.plot([0, most], [0, most], color=MUTED, linestyle=":", label="all that is offered")
    for label, (colour, marker, y) in series.items():
        axes.plot(x, y, marker + ("-" if joined else ""), color=colour, label=label)
    axes.set_xlabel("offered (questions/s)")
    axes.set_ylabel("questions/s")
    _from_zero(axes, x)
    axes.set_ylim(bottom=0)
    counts(axes, x=True, y=True)
    # Nothing is above what is offered.
    _knee(axes, result, places={each.stage.rate: each.questions for each in points}, top=True)
    figure.legend(loc="outside upper left", ncols=3)
    return figure


def goodputs(runs: Mapping[str, Result]) -> Figure:
    """What several runs answered right and in time against what was offered, by their labels."""
    figure = Figure(figsize=(NARROW, 3.9), layout="constrained")
    axes = figure.subplots()
    points = {label: _points(result) for label, result in runs.items()}
    x = [point.questions for each in points.values() for point in each]
    most = max(x, default=0.0)
    axes.plot([0, most], [0, most], color=MUTED, linestyle=":", label="all that is offered")
    for colour, (label, each) in zip(cycle(COLOURS), points.items(), strict=False):
        offered = [point.questions for point in each]
        axes.plot(
            offered, [_rate(point, "good") for point in each], "o-", color=colour, label=label
        )
    axes.set_xlabel("offered (questions/s)")
    axes.set_ylabel("goodput (questions/s)")
    _from_zero(axes, x)
    answered = [_rate(point, "good") for each in points.values() for point in each]
    axes.set_ylim(0, 1.15 * max(answered, default=1.0))
    counts(axes, x=True, y=True)
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def _points(result: Result) -> list[_Point]:
    """The stages that asked something, by load."""
    points = []
    for stage in measured(result):
        cells = result.merged(stage.begin, stage.end)
        seconds = stage.end - stage.begin
        requests = sum(cell.offered for cell in cells.values()) / seconds
        questions = sum(cell.questions for cell in cells.values()) / seconds
        if requests:
            points.append(_Point(stage, cells, requests, questions))
    return sorted(points, key=lambda point: point.requests)


def _rate(point: _Point, what: str) -> float:
    seconds = point.stage.end - point.stage.begin
    return float(sum(getattr(cell, what) for cell in point.cells.values())) / seconds


def _from_zero(axes: Axes, x: list[float]) -> None:
    axes.set_xlim(0, 1.05 * max(x, default=1.0))


def _knee(axes: Axes, result: Result, *, places: Mapping[float, float], top: bool) -> None:
    """A line at the knee, with words where no point is; ``places``: where on the axis a rate is."""
    held = knee(result).held
    place = None if held is None else places.get(held)
    if held is None or place is None:
        return
    axes.axvline(place, color=INK, linestyle="--", linewidth=1)
    left = place > (0.3 if top else 0.6) * max(places.values())
    axes.annotate(
        f"knee: {rate(held)}",
        (place, 1.0 if top else 0.0),
        xycoords=("data", "axes fraction"),
        xytext=(-4 if left else 4, -4 if top else 4),
        textcoords="offset points",
        ha="right" if left else "left",
        va="top" if top else "bottom",
        color=INK,
    )
