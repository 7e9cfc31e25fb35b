"""How plots look, and how they become SVG: text stays text, in whatever font the reader has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from math import isfinite
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from loadtests.report.words import count

# Ink and paper appear nowhere else, so that a page can put its own in their place.
INK, PAPER = "#23272b", "#fffffe"
MUTED, WARM_UP = "#8a9099", "#9aa1a9"
GOOD, BAD, BUDGET = "#2a8f6a", "#cc4b37", "#cc4b37"
# Okabe and Ito's, which the colour-blind tell apart, and which show on white and on black.
COLOURS = ("#2a7fc0", "#d9822b", "#2a9d76", "#b56aa0", "#b8962e", "#4fa8c9")

# Inches. A phone shows the narrow ones in full; the wide ones scroll there.
NARROW, WIDE = 5.6, 8.8

_STYLE: Mapping[Any, Any] = MappingProxyType(
    {
        "svg.fonttype": "none",
        # Names come from outside: a dollar in one begins no formula.
        "text.parse_math": False,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", "Arial"],
        "font.size": 9.5,
        "axes.titlesize": 9.5,
        "axes.labelsize": 9.5,
        "legend.fontsize": 9,
        "text.color": INK,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": MUTED,
        "grid.alpha": 0.3,
        "grid.linewidth": 0.5,
        "lines.linewidth": 1.6,
        "lines.markersize": 5,
        "legend.frameon": False,
        "figure.facecolor": PAPER,
        "axes.facecolor": "none",
        "savefig.facecolor": PAPER,
    }
)


@contextmanager
def styled(name: str) -> Iterator[None]:
    """Within it plots look alike; ``name`` keeps the ids of two of them apart."""
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        yield


def svg(figure: Figure) -> str:
    """The figure as a file of its own; the same figure gives the same file."""
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def inlined(text: str, prefix: str, label: str) -> str:
    """An SVG file as an element of a page: it takes the page's ink and width, and no id twice.

    ``label`` is for who cannot see it, and must need no escaping.
    """
    element = text[text.index("<svg") :]
    element = re.sub(r' (?:width|height)="[\d.]+pt"', "", element, count=2)
    element = element.replace(INK, "currentColor").replace(PAPER, "none")
    element = re.sub(r'\bid="', f'id="{prefix}-', element)
    element = re.sub(r'(url\(#|href="#)', rf"\1{prefix}-", element)
    return element.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def milliseconds(axes: Axes, label: str) -> None:
    """Make the y axis one of latencies on a logarithmic scale; what is drawn are milliseconds."""
    axes.set_yscale("log")
    axes.set_ylabel(label)
    if not isfinite(axes.dataLim.minposy):
        # Nothing was answered: there is no scale to find.
        axes.set_ylim(1, 1_000)
    bottom, top = axes.get_ylim()
    # Within one decade its two ends may lie outside, and nothing would be written at the axis.
    within = (1.0,) if top / bottom > 100 else (1.0, 2.0, 5.0)
    axes.yaxis.set_major_locator(LogLocator(subs=within))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def counts(axes: Axes, *, x: bool = False, y: bool = False) -> None:
    """Write the numbers of axes in full, with a comma at thousands."""
    for wanted, axis in ((x, axes.xaxis), (y, axes.yaxis)):
        if wanted:
            axis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
