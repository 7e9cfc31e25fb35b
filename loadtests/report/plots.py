"""Which plots a run has, and what each says to whoever looks at it for the first time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from matplotlib.figure import Figure

from loadtests.report import load_plots
from loadtests.report.budgets import in_steps, measured
from loadtests.report.curve_plot import percentiles
from loadtests.report.load_plots import goodput, latency
from loadtests.report.style import styled, svg
from loadtests.report.timeline import timeline
from loadtests.result import Result


class Plot(NamedTuple):
    """A plot as a file of SVG; ``wide`` ones scroll on a phone."""

    title: str
    caption: str
    svg: str
    wide: bool = False


class _Kind(NamedTuple):
    draw: Callable[[Result], Figure]
    title: str
    caption: str
    # Of a run in steps, when it differs.
    caption_of_steps: str = ""


_KINDS: Mapping[str, _Kind] = MappingProxyType(
    {
        "latency": _Kind(
            latency,
            "Latency against offered load",
            "One point a stage.",
            "One point a stage. Up to the knee the service carries what is offered.",
        ),
        "goodput": _Kind(
            goodput,
            "Goodput against offered load",
            "Goodput are questions answered right and in time. A service that is overloaded should "
            "refuse what it cannot do, and keep its goodput level.",
        ),
        "percentiles": _Kind(
            percentiles,
            "Latency by percentile",
            "All stages but the warm-up.",
            "At the highest load that is held, within the budget if there is one.",
        ),
        "timeline": _Kind(
            timeline,
            "The run over time",
            "Grey is the warm-up, which counts for nothing; colours in the background are events. "
            "Everything stands at the moment that a request was meant to be sent at.",
        ),
    }
)


# Loads that are less than so many times each other are one.
_SEVERAL = 1.2


def drawn(result: Result) -> dict[str, Plot]:
    """By the name of the file of each, the one to look at first first."""
    steps = in_steps(result)
    names = ["latency", "goodput", "percentiles", "timeline"]
    if not steps:
        # What a single load did is told by time; a curve needs more than one.
        rates = [stage.rate for stage in measured(result)]
        several = max(rates, default=0.0) > _SEVERAL * min(rates, default=0.0)
        names = ["timeline", "percentiles", *(["goodput", "latency"] if several else [])]
    return {f"{name}.svg": _plot(result, name, steps=steps) for name in names}


def goodputs(runs: Mapping[str, Result]) -> str:
    """What several runs answered right and in time by what was offered, as SVG."""
    with styled("goodputs"):
        return svg(load_plots.goodputs(runs))


def _plot(result: Result, name: str, *, steps: bool) -> Plot:
    kind = _KINDS[name]
    caption = (kind.caption_of_steps if steps else "") or kind.caption
    with styled(name):
        return Plot(kind.title, caption, svg(kind.draw(result)), wide=name == "timeline")
