"""The timeline: what was asked and answered in each second, and what went on meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from math import isnan
from types import MappingProxyType
from typing import Literal, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.report.bins import Bins, alone, bins, cpu, generator_cpu, hit_ratio, p99, per_second
from loadtests.report.budgets import budget
from loadtests.report.style import (
    BAD,
    COLOURS,
    GOOD,
    INK,
    MUTED,
    WARM_UP,
    WIDE,
    counts,
    milliseconds,
)
from loadtests.result import Event, Result, StageRun

# Points of the page's width, and of a letter: what labels need of it.
_POINTS, _LETTER, _LINE = 72 * WIDE * 0.76, 5.3, 11.0
_LONGEST = 18
_EVENT_COLOURS: Mapping[str, str] = MappingProxyType(
    {"fault": "#cc4b37", "restart": "#d9822b", "feed": "#2a7fc0"}
)
_OTHER_EVENT = "#b56aa0"
# Of the run's time: what is over at once is still seen.
_THINNEST = 0.004


class _Bar(NamedTuple):
    """An event, where its label is, and from where to where both are, in seconds."""

    event: Event
    label: Literal["in", "before", "after"]
    begin: float
    end: float


def timeline(result: Result) -> Figure:
    """Panels one above the other, with one axis of time."""
    found = bins(result)
    end = max(stage.end for stage in result.stages)
    lanes = _lanes(_unbroken(result.events), end)
    panels = [(_questions, 2.0), (_latency, 2.0)]
    if any(not isnan(value) for value in found.series(hit_ratio)):
        panels.append((_hits, 1.1))
    panels.append((_cpu, 1.5))
    heights = [height for _, height in panels]
    if result.events:
        heights.append(0.25 + 0.22 * len(lanes))
    figure = Figure(figsize=(WIDE, 1.1 + sum(heights)), layout="constrained")
    every = figure.subplots(
        len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )[:, 0]
    for axes, (draw, _) in zip(every, panels, strict=False):
        draw(axes, result, found)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.03), borderaxespad=0.2)
    for axes in every:
        _shade(axes, result)
    _name(every[0], result.stages, end)
    if result.events:
        _events(every[-1], lanes, end)
    every[-1].set_xlim(0, end)
    every[-1].set_xlabel("time (s)")
    counts(every[-1], x=True)
    return figure


def _questions(axes: Axes, result: Result, found: Bins) -> None:
    offered = found.series(per_second("questions"))
    answered = found.series(per_second("right", "wrong", "unavailable"))
    # On top of the others, which it equals where all is well.
    axes.plot(found.x, offered, color=INK, linestyle=":", linewidth=1.2, label="offered", zorder=5)
    axes.plot(found.x, answered, color=COLOURS[0], label="answered")
    axes.plot(found.x, found.series(per_second("good")), color=GOOD, label="right, in time")
    refused = found.series(per_second("refused_questions"))
    if any(value > 0 for value in refused):
        axes.plot(found.x, refused, color=BAD, label="refused")
    axes.set_ylabel("questions/s")
    axes.set_ylim(bottom=0)
    counts(axes, y=True)


def _latency(axes: Axes, result: Result, found: Bins) -> None:
    allowed = budget(result)
    for colour, name in zip(cycle(COLOURS), result.classes, strict=False):
        y = found.series(p99(name))
        if all(map(isnan, y)):
            continue
        axes.plot(found.x, y, color=colour, label=name)
        axes.plot(found.x, alone(y), ".", color=colour, markersize=3)
        if name in allowed:
            axes.axhline(allowed[name] * 1e3, color=colour, linestyle="--", linewidth=0.9)
    if allowed:
        axes.plot([], [], color=MUTED, linestyle="--", linewidth=0.9, label="p99 budget")
    milliseconds(axes, "p99 (ms)" if found.width == 1 else f"p99 of {found.width} s (ms)")


def _hits(axes: Axes, result: Result, found: Bins) -> None:
    axes.plot(found.x, found.series(hit_ratio), color=COLOURS[0], label="cache hits")
    axes.set_ylabel("hits (%)")
    axes.set_ylim(0, 102)


def _cpu(axes: Axes, result: Result, found: Bins) -> None:
    parts = {
        part
        for window in result.windows
        if window.service is not None
        for part in window.service.cpu
    }
    for colour, part in zip(cycle(COLOURS), sorted(parts, reverse=True), strict=False):
        axes.plot(found.x, found.series(cpu(part)), color=colour, label=part)
    axes.plot(found.x, found.series(generator_cpu), color=MUTED, linestyle=":", label="generator")
    axes.set_ylabel("CPU (cores)")
    axes.set_ylim(bottom=0)


def _shade(axes: Axes, result: Result) -> None:
    """Where stages begin, what is warm-up, and events."""
    for stage in result.stages:
        axes.axvline(stage.begin, color=MUTED, linewidth=0.6, alpha=0.6)
        if stage.warm_up:
            axes.axvspan(stage.begin, stage.end, color=WARM_UP, alpha=0.25, linewidth=0)
    for event in result.events:
        axes.axvspan(event.begin, event.end, color=_colour(event), alpha=0.15, linewidth=0.8)


def _name(axes: Axes, stages: Sequence[StageRun], end: int) -> None:
    """Names of stages above the plot: level when those that count have room, else upright."""
    room = [(stage.end - stage.begin) / end * _POINTS for stage in stages]
    wanted = [len(_short(stage.name)) * _LETTER for stage in stages]
    level = all(
        need < width or stage.warm_up
        for stage, need, width in zip(stages, wanted, room, strict=True)
    )
    for stage, need, width in zip(stages, wanted, room, strict=True):
        if (need if level else _LINE) <= width:
            axes.annotate(
                _short(stage.name),
                ((stage.begin + stage.end) / 2, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3),
                textcoords="offset points",
                rotation=0 if level else 90,
                ha="center",
                va="bottom",
                fontsize=8.5,
            )


def _events(axes: Axes, lanes: Sequence[Sequence[_Bar]], end: float) -> None:
    """One bar for each event, in or beside it what it was; no two on top of each other."""
    for lane, bars in enumerate(lanes):
        for bar in bars:
            event = bar.event
            width = max(event.end - event.begin, end * _THINNEST)
            axes.barh(lane, width, left=event.begin, height=0.62, color=_colour(event))
            axes.annotate(
                _label(event),
                (event.begin if bar.label == "before" else event.begin + width, lane),
                xytext=(4 if bar.label == "after" else -4, 0),
                textcoords="offset points",
                ha="left" if bar.label == "after" else "right",
                va="center",
                color="white" if bar.label == "in" else INK,
                fontsize=8.5,
            )
    axes.set_ylim(len(lanes) - 0.4, -0.6)
    axes.set_yticks([])
    axes.set_ylabel("events")
    axes.grid(visible=False)


def _unbroken(events: Sequence[Event]) -> list[Event]:
    """Events in order; those that go on where one of the same kind and label ends are one."""
    found: list[Event] = []
    for event in sorted(events, key=lambda event: (event.kind, event.label, event.begin)):
        last = found[-1] if found else None
        if last and (last.kind, last.label, last.end) == (event.kind, event.label, event.begin):
            found[-1] = Event(last.kind, last.begin, event.end, last.label)
        else:
            found.append(event)
    return sorted(found, key=lambda event: event.begin)


def _lanes(events: Sequence[Event], end: float) -> list[list[_Bar]]:
    """Events in as few rows as they need, each with room for its label."""
    lanes: list[list[_Bar]] = []
    taken: list[float] = []
    for bar in sorted((_bar(event, end) for event in events), key=lambda bar: bar.begin):
        lane = next((at for at, until in enumerate(taken) if until <= bar.begin), len(lanes))
        if lane == len(lanes):
            lanes.append([])
            taken.append(0.0)
        lanes[lane].append(bar)
        taken[lane] = bar.end
    return lanes


def _bar(event: Event, end: float) -> _Bar:
    text = (len(_label(event)) * _LETTER + 12) / _POINTS * end
    over = max(event.end, event.begin + end * _THINNEST)
    if over - event.begin >= text:
        return _Bar(event, "in", event.begin, over)
    if over + text <= end:
        return _Bar(event, "after", event.begin, over + text)
    return _Bar(event, "before", event.begin - text, over)


def _label(event: Event) -> str:
    return _short(event.label or event.kind, 40)


def _colour(event: Event) -> str:
    return _EVENT_COLOURS.get(event.kind, _OTHER_EVENT)


def _short(text: str, most: int = _LONGEST) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
