"""Plots of a simulation as SVG: one for each signal, and one that compares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from math import ceil
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.autoscaler.load import Load
from loadtests.autoscaler.simulate import Run
from loadtests.report.style import BAD, COLOURS, GOOD, INK, MUTED, WIDE, counts, styled, svg
from loadtests.report.words import count, share

# A line has no more points than a screen has columns.
_POINTS = 1_440
_OFFERED: dict[str, Any] = {"color": INK, "linestyle": ":", "linewidth": 1.3, "label": "offered"}


def of_signal(load: Load, signal: str, run: Run) -> str:
    """What was offered and what became of it; below, the pods."""
    with styled(f"{load.name}-{signal}"):
        return svg(_of_signal(load, signal, run))


def overview(load: Load, runs: Mapping[str, Run]) -> str:
    """The capacity that each signal brings; below, what it costs callers and who pays for pods."""
    with styled(load.name):
        return svg(_overview(load, runs))


def _of_signal(load: Load, signal: str, run: Run) -> Figure:
    trace, times = run.trace, _times(load)
    figure = Figure(figsize=(WIDE, 4.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 2)})
    above.fill_between(
        times, _thinned(trace.refused), color=BAD, alpha=0.35, linewidth=0, label="refused"
    )
    above.plot(times, _thinned(trace.capacity), color=MUTED, label="capacity")
    above.plot(times, _thinned(trace.served), color=GOOD, label="served")
    above.plot(times, _thinned(trace.offered), **_OFFERED)
    above.set_ylabel("requests/s")
    above.set_title(f"{load.title}, scaled by {signal}", loc="left", fontweight="bold")
    below.plot(times, _thinned(trace.paid), color=COLOURS[1], label="paid for")
    below.plot(times, _thinned(trace.ready), color=COLOURS[0], label="ready")
    below.set_ylabel("pods")
    _axes(above, below)
    _time(below, load)
    return figure


def _overview(load: Load, runs: Mapping[str, Run]) -> Figure:
    bars = 0.9 + 0.26 * len(runs)
    figure = Figure(figsize=(WIDE, 2.9 + bars), layout="constrained")
    top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=(2.9, bars))[:, 0]
    axes = top.subplots()
    colours = dict(zip(runs, cycle(COLOURS), strict=False))
    # The ones behind are wider, so that equal ones are seen.
    for left, (signal, run) in zip(range(len(runs), 0, -1), runs.items(), strict=True):
        axes.plot(
            _times(load),
            _thinned(run.trace.capacity),
            color=colours[signal],
            label=signal,
            linewidth=0.6 + 0.9 * left,
        )
    # Not "offered", which is a signal here.
    axes.plot(_times(load), _thinned(load.rates), **{**_OFFERED, "label": "load"})
    axes.set_ylabel("capacity (requests/s)")
    axes.set_title(load.title, loc="left", fontweight="bold")
    _axes(axes)
    _time(axes, load)
    found = [run.outcome for run in runs.values()]
    panels = bottom.subplots(1, 3, sharey=True)
    labels = ("time to capacity (s)", "refused (%)", "pod-hours")
    values = (
        [float(each.seconds_short) for each in found],
        [100 * each.refused for each in found],
        [each.pod_hours for each in found],
    )
    texts = (
        [
            count(each.seconds_short) + (", never" if each.seconds_to_capacity is None else "")
            for each in found
        ],
        [share(each.refused).removesuffix(" %") for each in found],
        [count(each.pod_hours) for each in found],
    )
    for panel, label, lengths, said in zip(panels, labels, values, texts, strict=True):
        drawn = panel.barh(list(runs), lengths, color=list(colours.values()), height=0.62)
        panel.bar_label(drawn, said, padding=3, fontsize=8.5)
        # Room for what is written at the longest.
        panel.set_xlim(0, max(*lengths, 1e-9) * 1.8)
        panel.set_xticks([])
        panel.grid(visible=False)
        panel.set_xlabel(label)
    panels[0].invert_yaxis()
    return figure


def _axes(*every: Axes) -> None:
    """What the panels over time have in common."""
    for axes in every:
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.03), borderaxespad=0.2)
        counts(axes, y=True)


def _time(axes: Axes, load: Load) -> None:
    end = len(load.rates)
    axes.set_xlim(0, end / (3_600 if load.is_day else 60))
    axes.set_xlabel("time of day (h)" if load.is_day else "time (min)")
    if load.is_day:
        axes.set_xticks(range(0, end // 3_600 + 1, max(1, end // 3_600 // 12)))


def _times(load: Load) -> list[float]:
    """The middle of each bin, in hours of a day or else in minutes."""
    end, unit = len(load.rates), 3_600 if load.is_day else 60
    width = _width(end)
    return [(begin + min(begin + width, end)) / 2 / unit for begin in range(0, end, width)]


def _thinned(values: Sequence[float]) -> list[float]:
    """The mean of each bin."""
    width = _width(len(values))
    bins = (values[begin : begin + width] for begin in range(0, len(values), width))
    return [sum(each) / len(each) for each in bins]


def _width(seconds: int) -> int:
    return ceil(seconds / _POINTS)
