from __future__ import annotations

from math import isnan, nan

from loadtests.report.bins import alone, bins, hit_ratio, p99, per_second
from loadtests.result import Result
from tests.loadtests import samples


def test_a_short_run_has_a_bin_a_second(steps: Result) -> None:
    """Nothing is averaged where there is room; a pause between steps is a gap."""
    found = bins(steps)
    assert found.width == 1
    assert len(found.bins) == steps.stages[-1].end
    assert found.bins[steps.stages[0].end] is None


def test_a_long_run_has_few_bins_and_loses_nothing() -> None:
    """What was asked in all seconds is asked in all bins."""
    run = samples.peak_hour(seconds=10)
    found = bins(run, most=12)
    asked = sum(
        cell.questions for each in found.bins if each is not None for cell in each.cells.values()
    )
    assert (len(found.bins), found.width) == (12, 3)
    assert asked == run.total.questions


def test_a_rate_is_a_second_however_wide_the_bin() -> None:
    """A bin of several seconds shows their mean, and not their sum."""
    run = samples.peak_hour(seconds=10)
    narrow = bins(run).series(per_second("questions"))
    wide = bins(run, most=1).series(per_second("questions"))
    assert wide == [sum(narrow) / len(narrow)]


def test_what_was_not_there_is_a_gap(dead: Result) -> None:
    """No answers have no p99 and no hit ratio, and neither is 0."""
    found = bins(dead)
    assert all(map(isnan, found.series(p99("single"))))
    assert all(map(isnan, found.series(hit_ratio)))


def test_a_point_between_gaps_is_alone() -> None:
    """A line joins neighbours; only what has none needs a dot."""
    assert [isnan(value) for value in alone([1.0, nan, 2.0, 3.0, nan, 4.0])] == [
        *(False, True, True, True, True, False),
    ]
