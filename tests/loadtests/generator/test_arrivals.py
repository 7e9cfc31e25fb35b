"""When requests are sent: exact for constant arrivals, by distribution for Poisson ones."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.generator import arrivals
from loadtests.generator.arrivals import BadTimestamps, Slope

_RATES = st.floats(0.0, 500.0)
_SLOPES = st.lists(st.builds(Slope, st.floats(0.1, 20.0), _RATES, _RATES), min_size=1, max_size=5)


def _constant(slopes: list[Slope]) -> list[float]:
    return list(arrivals.moments(slopes, arrivals.constant()))


@given(_SLOPES)
def test_constant_arrivals_are_as_many_as_the_rate_says(slopes: list[Slope]) -> None:
    """Their number is the area under the rate; they ascend and none lies outside."""
    moments = _constant(slopes)
    area = sum((slope.begin + slope.end) / 2 * slope.seconds for slope in slopes)
    assert abs(len(moments) - area) <= 1
    assert all(one <= two for one, two in pairwise(moments))
    assert all(0 <= moment <= sum(slope.seconds for slope in slopes) + 1e-6 for moment in moments)


def test_constant_arrivals_are_equally_far_apart() -> None:
    """Ten a second come every tenth of a second, across the border of two stages too."""
    moments = _constant([Slope(1.0, 10.0, 10.0), Slope(1.0, 10.0, 10.0)])
    assert moments == pytest.approx([step / 10 for step in range(1, 21)])


def test_a_ramp_comes_faster_and_faster() -> None:
    """From 0 to 100 a second in two seconds: the n-th comes at the root of n ÷ 25 seconds."""
    moments = _constant([Slope(2.0, 0.0, 100.0)])
    assert moments == pytest.approx([(number / 25) ** 0.5 for number in range(1, 101)])


def test_poisson_arrivals_are_independent() -> None:
    """Counts of a second have the mean and the variance of a Poisson process."""
    moments = arrivals.moments([Slope(2_000.0, 50.0, 50.0)], arrivals.poisson(Random(1)))
    counts = [0] * 2_000
    for moment in moments:
        counts[int(moment)] += 1
    mean = sum(counts) / len(counts)
    variance = sum((count - mean) ** 2 for count in counts) / len(counts)
    assert mean == pytest.approx(50.0, rel=0.02)
    assert variance == pytest.approx(50.0, rel=0.1)


@given(st.lists(st.floats(0, 100), max_size=50), st.integers(1, 7))
def test_shares_are_the_whole(moments: list[float], parts: int) -> None:
    """What several generators send together is what one would have sent, each of it once."""
    shares = [list(arrivals.share(moments, part, parts)) for part in range(parts)]
    assert sorted(moment for share in shares for moment in share) == sorted(moments)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_timestamps_are_replayed(tmp_path: Path) -> None:
    """The first is moment 0; comments and empty lines are passed over; it may go faster."""
    file = tmp_path / "moments"
    file.write_text("# recorded\n1700000000.5\n\n1700000001.5\n1700000004.5\n")
    assert arrivals.replay(file) == pytest.approx([0.0, 1.0, 4.0])
    assert arrivals.replay(file, speed=2.0) == pytest.approx([0.0, 0.5, 2.0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\ntwo\n", "line 2: expected seconds as a number, got 'two'"),
        ("2\n1\n", "line 2: expected at least 2.0"),
        ("# nothing\n", "expected a timestamp a line, got none"),
    ],
)
def test_what_cannot_be_replayed(tmp_path: Path, text: str, message: str) -> None:
    """A file that is none of ascending timestamps is refused with its line."""
    file = tmp_path / "moments"
    file.write_text(text)
    with pytest.raises(BadTimestamps, match=message):
        arrivals.replay(file)
