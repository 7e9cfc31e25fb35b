from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench import report
from bench.figures import FIGURES, NOT_YET, Result, budget, measurements, result, wanted
from bench.measure import Measures
from bench.programs import Sample
from bench.rig import QUICK


def _samples(*values: float) -> list[Sample]:
    return [Sample(value, f"{value}/s") for value in values]


def _results() -> list[Result]:
    samples = {"single cached": _samples(9, 19, 31), "single bare": _samples(10, 20, 30)}
    up = msgspec.structs.replace(FIGURES[0], target=0.9)
    figures = [up, msgspec.structs.replace(up, name="P6", at_least=False)]
    return [result(figure, samples, {"P1": 0.9, "P6": 0.9}) for figure in figures]


def test_rounds_are_divided_one_by_one() -> None:
    """What drifts from round to round drifts on both sides, so it cancels out."""
    first, _ = _results()
    assert first.ratios == [0.9, 0.95, 31 / 30]
    assert first.median == 0.95


def test_both_directions_are_judged() -> None:
    """A ratio is met at or beyond its target, on the side that its figure says."""
    at_least, at_most = _results()
    assert at_least.met
    assert not at_most.met


def test_every_figure_has_a_bound_and_a_measurement() -> None:
    """Nothing in the list of figures is without a bound in budget.toml or a way to measure it."""
    assert set(budget()) == {figure.name for figure in FIGURES}
    names = {name for figure in FIGURES for name in (figure.over, figure.under) if name}
    assert names == set(measurements(FIGURES, names))


def test_figures_are_chosen_by_name() -> None:
    """P8 brings its second condition along; a name that is none is refused."""
    assert [figure.name for figure in wanted(["p8"])] == ["P8", "P8m"]
    assert len(wanted([])) == len(FIGURES)
    with pytest.raises(ValueError, match="P99"):
        wanted(["P99"])


def test_the_table_has_a_row_for_every_figure() -> None:
    """What is not measured yet is said, and what is missed stands out."""
    table = report.table(_results())
    assert table.count("\n") == 2 + 2 + len(NOT_YET)
    assert "**no**" in table
    assert "see load-testing" in table


def test_the_report_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON with all rounds, a plot, and the table in its place in the page."""
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{report.BEGIN}old\n{report.END}after\n")
    monkeypatch.setattr(report, "PAGE", page)
    results = _results()
    known = report.facts(QUICK) | {"memory_latency_ns": [50, 70, 60]}
    report.put_into_page(results, known)
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith("after\n")
    assert "60 (50 … 70) ns" in page.read_text()
    assert "old" not in page.read_text()
    report.write(results, known, tmp_path / "bench.json")
    written = msgspec.json.decode((tmp_path / "bench.json").read_bytes())
    assert written["figures"][0]["ratios"] == results[0].ratios
    assert written["facts"]["memory_latency_ns"] == [50, 70, 60]
    report.plot(results, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_measurements_know_their_names() -> None:
    """Each side of each figure is a measurement that exists."""

    class NoRig:
        """Nothing is measured here."""

    known = Measures(NoRig()).by_name  # type: ignore[arg-type]
    assert {name for figure in FIGURES for name in (figure.over, figure.under) if name} <= set(
        known
    )


def test_a_round_that_does_not_count_is_left_out() -> None:
    """Void runs make no ratio; with none left the figure is not met, and says so."""
    samples: dict[str, list[Sample | None]] = {
        "single cached": [None, *_samples(19)],
        "single bare": [*_samples(10, 20)],
    }
    assert result(FIGURES[0], samples, budget()).ratios == [0.95]
    none = result(FIGURES[0], {"single cached": [None], "single bare": _samples(1)}, budget())
    assert not none.met
    assert not none.in_budget
    assert "void" in report.table([none])
