"""Plots of a model as SVG: throughput by workers, and p99 by utilisation."""

from __future__ import annotations

from math import ceil, isfinite

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from loadtests.capacity.estimates import CONFIDENCE
from loadtests.capacity.model import FAR, Kind, Model
from loadtests.report.style import COLOURS, INK, WIDE, counts, milliseconds, styled, svg

_POINTS = 80
_COLUMNS = 2
# Inches of a row of panels.
_HEIGHT = 2.9


def throughput(model: Model) -> str:
    """X(N) of each kind, with its band and what was measured; dashed where it is extrapolated."""
    with styled("capacity-throughput"):
        figure, panels = _panels(len(model.kinds))
        for (name, kind), axes, colour in zip(model.kinds.items(), panels, COLOURS, strict=False):
            _law(axes, kind, colour)
            axes.set_title(_title(name, kind), loc="left", fontweight="bold")
        _legend(figure, panels[0])
        return svg(figure)


def latency(model: Model) -> str:
    """p99 by utilisation of each kind that has a curve, with its band and what was measured."""
    curved = {name: kind for name, kind in model.kinds.items() if kind.curve is not None}
    with styled("capacity-latency"):
        figure, panels = _panels(max(1, len(curved)))
        for (name, kind), axes, colour in zip(curved.items(), panels, COLOURS, strict=False):
            _curve(axes, kind, colour)
            milliseconds(axes, "p99 (ms)")
            axes.set_title(_title(name, kind), loc="left", fontweight="bold")
        _legend(figure, panels[0])
        return svg(figure)


def _law(axes: Axes, kind: Kind, colour: str) -> None:
    law = kind.law
    measured = law.most_workers
    numbers = np.linspace(1, max(2, FAR * measured), _POINTS)
    found = [law.at(float(number)) for number in numbers]
    axes.fill_between(
        numbers,
        [each.low for each in found],
        [each.high for each in found],
        color=colour,
        alpha=0.2,
        linewidth=0,
        label=f"band of {CONFIDENCE:.0%}",
    )
    for here, style, label in (
        (numbers <= measured, "-", "fitted"),
        (numbers >= measured, ":", "extrapolated"),
    ):
        values = [each.value for each, shown in zip(found, here, strict=True) if shown]
        axes.plot(numbers[here], values, style, color=colour, label=label)
    points = law.points
    axes.plot(
        [point.workers for point in points],
        [point.rate for point in points],
        "o",
        color=INK,
        markersize=4,
        label="measured",
    )
    axes.set_xlabel("workers")
    axes.set_ylabel("questions/s")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    counts(axes, y=True)


def _curve(axes: Axes, kind: Kind, colour: str) -> None:
    curve = kind.curve
    assert curve is not None
    most = max(stage.utilisation for stage in curve.stages)
    loads = [each for each in np.linspace(0.01, most, _POINTS) if isfinite(curve.fitted.at(each))]
    found = [curve.at(float(load)) for load in loads]
    axes.fill_between(
        loads,
        [1e3 * each.low for each in found],
        [1e3 * each.high for each in found],
        color=colour,
        alpha=0.2,
        linewidth=0,
        label=f"band of {CONFIDENCE:.0%}",
    )
    axes.plot(loads, [1e3 * each.value for each in found], color=colour, label="fitted")
    axes.plot(
        [stage.utilisation for stage in curve.stages],
        [1e3 * stage.p99 for stage in curve.stages],
        "o",
        color=INK,
        markersize=4,
        label="measured",
    )
    axes.set_xlim(0, max(1.05, most + 0.05))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("utilisation (% of the highest rate that is held)")


def _panels(number: int) -> tuple[Figure, list[Axes]]:
    rows = ceil(number / _COLUMNS)
    figure = Figure(figsize=(WIDE, 0.5 + _HEIGHT * rows), layout="constrained")
    every = list(figure.subplots(rows, _COLUMNS, squeeze=False).flat)
    for spare in every[number:]:
        spare.remove()
    return figure, every[:number]


def _title(name: str, kind: Kind) -> str:
    return f"{name.replace('_', ', ')} ({kind.hit:.0%} in memory)"


def _legend(figure: Figure, axes: Axes) -> None:
    """One for all panels, which have the same."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=5)
