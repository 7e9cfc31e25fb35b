from __future__ import annotations

from xml.etree import ElementTree

import msgspec
import pytest

from loadtests.capacity import fit, plots
from loadtests.capacity.model import Model
from tests.loadtests.capacity import made


@pytest.fixture(scope="module")
def fitted() -> Model:
    """Four kinds, two numbers of workers."""
    return fit.fit(made.runs((1, 2)), {}, draws=5)


def words(svg: str) -> str:
    """All that is written in a plot."""
    return " ".join(" ".join(ElementTree.fromstring(svg).itertext()).split())


def test_throughput_has_a_panel_for_each_kind(fitted: Model) -> None:
    """With units, the band, the points, and where it is extrapolated."""
    said = words(plots.throughput(fitted))
    for text in ("single, cached (98% in memory)", "batch, uncached (2% in memory)"):
        assert text in said
    for text in ("workers", "questions/s", "band of 90%", "fitted", "extrapolated", "measured"):
        assert text in said


def test_latency_has_a_panel_for_each_curve(fitted: Model) -> None:
    """With units, the band and the points."""
    said = words(plots.latency(fitted))
    for text in ("p99 (ms)", "utilisation (% of the highest rate that is held)", "band of 90%"):
        assert text in said


def test_a_model_without_curves_has_an_empty_plot() -> None:
    """Too few stages were held."""
    run = made.runs((1,), 1)[0]
    short = msgspec.structs.replace(run, samples=run.samples[-3:])
    assert "p99 (ms)" not in words(plots.latency(fit.fit([short], {}, draws=0)))


def test_the_same_model_gives_the_same_files(fitted: Model) -> None:
    """So that a diff shows a change."""
    assert plots.throughput(fitted) == plots.throughput(fitted)
    assert plots.latency(fitted) == plots.latency(fitted)
