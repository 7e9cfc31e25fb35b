"""The percentile curve of each class, on the scale that HDR histograms are drawn on."""

from __future__ import annotations

from itertools import cycle
from math import log10

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from loadtests.histogram import Histogram
from loadtests.report.budgets import budget, told
from loadtests.report.style import COLOURS, INK, NARROW, milliseconds
from loadtests.result import Result

_POINTS = 120


def percentiles(result: Result) -> Figure:
    """Latency against percentile: each tick to the right has a tenth of the requests beyond it."""
    figure = Figure(figsize=(NARROW, 3.9), layout="constrained")
    axes = figure.subplots()
    allowed = budget(result)
    furthest = 10.0
    for colour, (name, histogram) in zip(cycle(COLOURS), _by_class(result).items()):
        beyond, latencies = _curve(histogram)
        axes.plot(beyond, latencies, color=colour, label=name)
        furthest = max(furthest, beyond[-1])
        if name in allowed:
            axes.plot([100], [allowed[name] * 1e3], "v", color=colour, markersize=8)
    if allowed:
        axes.plot([], [], "v", color=INK, linestyle="none", label="its p99 budget")
    axes.set_xscale("log")
    axes.set_xlim(1, furthest)
    ticks = [10.0**power for power in range(int(log10(furthest)) + 1)]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _percent(value)))
    axes.set_xlabel("share of requests within the latency (%)")
    milliseconds(axes, "latency (ms)")
    figure.legend(loc="outside upper left", ncols=3)
    return figure


def _by_class(result: Result) -> dict[str, Histogram]:
    found: dict[str, Histogram] = {}
    for stage in told(result):
        for name, cell in result.merged(stage.begin, stage.end).items():
            if len(cell.latency):
                found.setdefault(name, Histogram()).merge(cell.latency)
    return {name: found[name] for name in result.classes if name in found}


def _curve(histogram: Histogram) -> tuple[list[float], list[float]]:
    """1 ÷ (1 - share), and milliseconds. It ends where a single request is beyond."""
    most = log10(max(10, len(histogram)))
    beyond = [10 ** (most * at / _POINTS) for at in range(_POINTS + 1)]
    shares = [*(1 - 1 / each for each in beyond[:-1]), 1.0]
    return beyond, [value * 1e3 for value in histogram.percentiles(shares)]


def _percent(beyond: float) -> str:
    return f"{100 * (1 - 1 / beyond):.10g}"
