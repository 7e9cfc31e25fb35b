"""The histogram: exact to a thousandth, and merged without loss."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.histogram import Histogram, bounds_of, bucket_of

_SECONDS = st.floats(0.0, 10_000.0)


def _of(values: list[float]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@given(st.integers(0, 1 << 50))
def test_buckets_hold_their_values(value: int) -> None:
    """A value lies in its bucket, which is no wider than a thousandth of it."""
    low, end = bounds_of(bucket_of(value))
    assert low <= value < end
    assert end - low <= max(1, value // 1000)


@given(st.integers(0, 1 << 30))
def test_buckets_ascend(value: int) -> None:
    """The next value has the same bucket or the next one: there are no gaps."""
    assert bucket_of(value + 1) - bucket_of(value) in (0, 1)


@given(st.lists(_SECONDS, min_size=1, max_size=200), st.floats(0.001, 1.0))
def test_percentiles_are_exact_to_a_thousandth(values: list[float], share: float) -> None:
    """A percentile is the smallest value that so many are within, and never below it."""
    exact = (
        sorted(int(value * 1e6) for value in values)[max(1, ceil(share * len(values))) - 1] / 1e6
    )
    assert exact <= _of(values).percentile(share) <= exact * 1.001 + 1e-9


@given(st.lists(_SECONDS, max_size=60), st.lists(_SECONDS, max_size=60))
def test_merged_is_as_counted_at_once(one: list[float], two: list[float]) -> None:
    """Two histograms merged equal the one that has counted all."""
    merged, whole = Histogram.of([_of(one), _of(two)]), _of(one + two)
    assert (merged.counts, merged.total, merged.max) == (whole.counts, whole.total, whole.max)


def test_nothing_has_no_latency() -> None:
    """An empty histogram answers with zeros, and all of nothing is within anything."""
    empty = Histogram()
    assert (len(empty), empty.mean, empty.max, empty.percentile(0.99)) == (0, 0.0, 0.0, 0.0)
    assert empty.share_within(0.0) == 1.0


def test_share_within() -> None:
    """The share that was on time, to the resolution of the histogram."""
    assert _of([0.001, 0.002, 0.003, 0.1]).share_within(0.01) == 0.75


def test_mean_is_exact() -> None:
    """The mean does not suffer from the buckets."""
    assert _of([1.000001, 2.000001]).mean == pytest.approx(1.500001)


def test_clocks_of_two_machines() -> None:
    """A duration below 0 counts as 0."""
    assert _of([-1.0]).counts == {0: 1}
