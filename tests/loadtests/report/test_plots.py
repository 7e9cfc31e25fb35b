from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import cast
from xml.etree import ElementTree as Xml

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from loadtests.report.curve_plot import percentiles
from loadtests.report.load_plots import goodput, latency
from loadtests.report.plots import drawn
from loadtests.report.style import INK, PAPER, inlined, styled, svg
from loadtests.report.timeline import timeline
from loadtests.result import Event, Result
from tests.loadtests import samples

_EVERY = [latency, goodput, percentiles, timeline]


@pytest.fixture(params=["steps", "peak", "dead"])
def run(request: pytest.FixtureRequest) -> Result:
    """Each kind of run, in turn."""
    return cast("Result", request.getfixturevalue(request.param))


def _axes(figure: Figure) -> list[Axes]:
    return list(figure.axes)


def _texts(figure: Figure) -> Iterator[tuple[str, tuple[float, float, float, float]]]:
    """All visible texts with left, bottom, right and top, as they are drawn."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    undrawn = set(_beyond_the_view(figure))
    for text in cast("list[Text]", figure.findobj(Text)):
        if text in undrawn:
            continue
        box = text.get_window_extent(renderer)
        inside = box.x1 > 0 and box.y1 > 0 and box.x0 < figure.bbox.x1 and box.y0 < figure.bbox.y1
        if text.get_text().strip() and text.get_visible() and inside:
            yield text.get_text(), (box.x0, box.y0, box.x1, box.y1)


def _beyond_the_view(figure: Figure) -> Iterator[Text]:
    """Labels of ticks that exist and are not drawn, since they lie outside of the axis."""
    for axes in _axes(figure):
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not low <= float(tick.get_loc()) <= high:
                    yield from (tick.label1, tick.label2)


def _drawn(draw: Callable[[Result], Figure], run: Result) -> str:
    with styled("test"):
        return svg(draw(run))


def _ys(line: Line2D) -> list[float]:
    return [float(y) for y in np.asarray(line.get_ydata())]


def _overlaps(figure: Figure) -> list[tuple[str, str]]:
    return [
        (one, other)
        for (one, a), (other, b) in combinations(set(_texts(figure)), 2)
        if a[0] < b[2] - 1 and b[0] < a[2] - 1 and a[1] < b[3] - 1 and b[1] < a[3] - 1
    ]


@pytest.mark.parametrize("draw", _EVERY)
def test_every_axis_has_a_unit(run: Result, draw: Callable[[Result], Figure]) -> None:
    """Each axis with numbers says what they are: a unit in brackets, or "a second"."""
    with styled("test"):
        axes = _axes(draw(run))
    labels = [each.get_ylabel() for each in axes if each.get_yticks().size]
    labels.append(axes[-1].get_xlabel())
    assert all(label.endswith(")") or label == "questions/s" for label in labels), labels


@pytest.mark.parametrize("draw", _EVERY)
def test_no_text_lies_on_another(run: Result, draw: Callable[[Result], Figure]) -> None:
    """Labels, ticks and legends all have room."""
    with styled("test"):
        assert _overlaps(draw(run)) == []


def test_labels_of_events_have_room_however_many_there_are() -> None:
    """Events that come one after the other, or at once, are written beside each other."""
    result = samples.peak_hour(seconds=6)
    result.events = [
        Event("restart", second, second + 1, f"worker {second} restarts, all of it")
        for second in range(0, 20, 2)
    ]
    with styled("test"):
        assert _overlaps(timeline(result)) == []


def test_an_event_that_lasts_all_the_time_is_named_inside() -> None:
    """A feed in every stage is one bar with its name in it, and not one for each stage."""
    result = samples.peak_hour(seconds=6)
    result.events = [
        Event("feed", stage.begin, stage.end, "ledger is fed") for stage in result.stages
    ]
    with styled("test"):
        axes = _axes(timeline(result))[-1]
    assert len(axes.containers) == 1
    assert [text.get_text() for text in axes.texts] == ["ledger is fed"]


def test_names_of_many_stages_have_room() -> None:
    """Stages too short for their names are left unnamed, or written upright."""
    result = samples.peak_hour(seconds=6)
    first = result.stages[1]
    result.stages = [
        type(first)(f"a stage of number {at}", at, at + 1, 1.0, 1.0) for at in range(21)
    ]
    with styled("test"):
        assert _overlaps(timeline(result)) == []


def test_each_stage_is_a_point_against_load(steps: Result) -> None:
    """Warm-up is left out; what is past the knee is shown."""
    with styled("test"):
        line = _axes(latency(steps))[0].get_lines()[0]
    assert len(_ys(line)) == len(steps.stages) - 1


def test_the_knee_is_drawn_where_it_is(steps: Result) -> None:
    """The line at the knee stands at what was offered there."""
    with styled("test"):
        axes = _axes(goodput(steps))[0]
    knee = [line for line in axes.get_lines() if line.get_linestyle() == "--"]
    assert float(np.asarray(knee[0].get_xdata())[0]) == pytest.approx(2_100, rel=0.02)


def test_goodput_is_level_past_the_knee(steps: Result) -> None:
    """The plot shows what the run did: no more comes through at three times the knee."""
    with styled("test"):
        lines = {line.get_label(): line for line in _axes(goodput(steps))[0].get_lines()}
    assert _ys(lines["goodput"])[-1] == pytest.approx(2_180, rel=0.02)
    assert _ys(lines["refused"])[-1] == pytest.approx(6_300 - 2_180, rel=0.03)


def test_the_percentile_curve_ends_at_the_slowest() -> None:
    """Its last point is the maximum, where a single request is beyond."""
    run = samples.step_run(scale=0.1)
    with styled("test"):
        line = _axes(percentiles(run))[0].get_lines()[0]
    stage = next(stage for stage in run.stages if stage.rate == 1_800)
    assert _ys(line)[-1] == stage.summary["single"].latency["max"] * 1e3


def test_a_single_load_has_no_curve_against_load() -> None:
    """A run of stages with one load leaves the timeline and the percentiles."""
    run = samples.peak_hour(seconds=4)
    run.stages = [run.stages[1], run.stages[3]]
    assert list(drawn(run)) == ["timeline.svg", "percentiles.svg"]


def test_the_same_run_leaves_the_same_files(peak: Result) -> None:
    """Plots differ only where runs do, so that they may be kept in a repository."""
    once, again = (_drawn(percentiles, peak) for _ in range(2))
    assert once == again


def test_text_of_a_plot_is_text(peak: Result) -> None:
    """Words can be searched and read aloud, and letters are no outlines."""
    root = Xml.fromstring(_drawn(timeline, peak))
    words = {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"time (s)", "primary is gone", "batch_small"} <= words


def test_names_from_outside_cannot_break_a_plot() -> None:
    """A tag is escaped, and dollars begin no formula."""
    run = samples.peak_hour(seconds=4)
    run.events = [Event("fault", 1, 2, r"<script>alert($\x$)</script>")]
    assert r"&lt;script&gt;alert($\x$)&lt;/script&gt;" in _drawn(timeline, run)


def test_an_inlined_plot_takes_the_colours_of_its_page() -> None:
    """Ink and paper are the page's, the width is free, and ids have the plot's own prefix."""
    with styled("test"):
        figure = Figure(figsize=(2, 2))
        figure.subplots().plot([1, 2])
        element = inlined(svg(figure), "plot7", "a plot")
    assert element.startswith('<svg role="img" aria-label="a plot"')
    assert INK not in element
    assert PAPER not in element
    root = Xml.fromstring(element)
    assert root.get("width") is None
    ids = [id_ for each in root.iter() if (id_ := each.get("id"))]
    assert all(id_.startswith("plot7-") for id_ in ids)
