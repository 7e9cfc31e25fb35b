"""Rates: a bucket admits what exact arithmetic and another library admit, and says when it will."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from random import Random
from threading import RLock
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from tests.engine.fakes import Clock
from verifier.access.rates import Bucket, Rate

rates = st.builds(
    Rate,
    units=st.one_of(st.floats(0.01, 100_000), st.integers(1, 100_000)),
    burst=st.integers(1, 10_000),
)
# The clock counts from the start of the machine, up to some years.
beginnings = st.floats(0, 1e8)
# Seconds between two requests, and what each asks for.
requests = st.lists(st.tuples(st.floats(0, 10), st.integers(1, 300)), min_size=1, max_size=60)
# Units: what a clock of years resolves, at the highest rate above.
ROUNDING = Fraction(1, 100)


class Exact:
    """A bucket of units in exact arithmetic, told the way people tell it."""

    def __init__(self, rate: Rate, now: float) -> None:
        self.units, self.burst = Fraction(rate.units), Fraction(rate.burst)
        self.level, self.at = self.burst, Fraction(now)

    def fill(self, now: float) -> None:
        """Let it fill until a moment."""
        self.level = min(self.burst, self.level + (Fraction(now) - self.at) * self.units)
        self.at = Fraction(now)

    def missing(self, units: int) -> Fraction:
        """How many units it lacks to admit so many, negative when there are more."""
        return min(Fraction(units), self.burst) - self.level


def moments(beginning: float, gaps: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """When each request comes, and its units."""
    now, found = beginning, []
    for gap, units in gaps:
        now += gap
        found.append((now, units))
    return found


@given(rates, beginnings, requests)
def test_it_admits_what_exact_arithmetic_admits(
    rate: Rate, beginning: float, gaps: list[tuple[float, int]]
) -> None:
    """All that, and nothing else, but for what the clock cannot resolve."""
    bucket, exact = Bucket(rate), Exact(rate, beginning)
    for now, units in moments(beginning, gaps):
        exact.fill(now)
        missing = exact.missing(units)
        wait = bucket.take(units, now)
        if abs(missing) > ROUNDING:
            assert (wait == 0.0) == (missing < 0)
        if wait == 0.0:
            exact.level -= units


@given(rates, beginnings, requests)
def test_no_window_admits_more_than_the_burst_and_the_rate(
    rate: Rate, beginning: float, gaps: list[tuple[float, int]]
) -> None:
    """Of batches up to the burst, between any two moments."""
    bucket = Bucket(rate)
    admitted = [
        (Fraction(now), units)
        for now, units in moments(beginning, gaps)
        if units <= rate.burst and bucket.take(units, now) == 0.0
    ]
    for first in range(len(admitted)):
        total = 0
        for now, units in admitted[first:]:
            total += units
            window = now - admitted[first][0]
            assert total <= Fraction(rate.burst) + Fraction(rate.units) * window + ROUNDING


@given(rates, beginnings, requests)
def test_the_wait_is_exact(rate: Rate, beginning: float, gaps: list[tuple[float, int]]) -> None:
    """Whoever comes after it is admitted, and whoever comes before it is not."""
    bucket = Bucket(rate)
    for now, units in moments(beginning, gaps):
        wait = bucket.take(units, now)
        if wait > 0.0:
            early = now + wait - float(ROUNDING) / rate.units
            assert early < now or bucket.take(units, early) > 0.0
            assert bucket.take(units, now + wait) == 0.0
            return


@given(rates, beginnings, requests)
def test_what_is_refused_is_not_charged(
    rate: Rate, beginning: float, gaps: list[tuple[float, int]]
) -> None:
    """A bucket that only admitted requests have reached is as full as the one that refused more."""
    bucket, other = Bucket(rate), Bucket(rate)
    for now, units in moments(beginning, gaps):
        if bucket.take(units, now) == 0.0:
            assert other.take(units, now) == 0.0
        assert bucket.reset(now) == other.reset(now)


@given(rates, beginnings, requests)
def test_what_remains_is_admitted(
    rate: Rate, beginning: float, gaps: list[tuple[float, int]]
) -> None:
    """As many units as remain are there to be taken, and one more is not."""
    bucket = Bucket(rate)
    for now, units in moments(beginning, gaps):
        bucket.take(units, now)
    remaining = bucket.remaining(now)
    assert remaining >= rate.burst or bucket.take(remaining + 1, now) > 0.0
    assert remaining == 0 or bucket.take(remaining, now) == 0.0


@given(rates, beginnings, requests)
def test_reset_says_when_it_is_full(
    rate: Rate, beginning: float, gaps: list[tuple[float, int]]
) -> None:
    """After so many seconds the whole burst is there, give or take a rounding."""
    bucket = Bucket(rate)
    for now, units in moments(beginning, gaps):
        bucket.take(units, now)
    full = now + bucket.reset(now) + float(ROUNDING) / rate.units
    assert bucket.remaining(full) == rate.burst


@given(st.floats(0.01, 100_000), st.integers(1, 1_000), beginnings)
def test_the_whole_burst_is_there(units: float, burst: int, now: float) -> None:
    """One by one in one moment, with no unit lost to a rounding and none won."""
    bucket = Bucket(Rate(units, burst))
    assert [bucket.take(1, now) for _ in range(burst)] == [0.0] * burst
    assert bucket.take(1, now) > 0.0


def test_a_batch_above_the_burst_needs_a_full_bucket_and_leaves_a_debt() -> None:
    """It is admitted once the bucket is full, and all wait until it is paid for."""
    bucket = Bucket(Rate(10, 100))
    assert bucket.take(1, 1000.0) == 0.0
    assert bucket.take(500, 1000.0) == pytest.approx(0.1)
    assert bucket.take(500, 1000.2) == 0.0
    assert bucket.remaining(1000.2) == 0
    assert bucket.take(1, 1000.2) == pytest.approx(40.1)
    assert bucket.take(500, 1000.2) == pytest.approx(50.0) == bucket.reset(1000.2)


@given(rates, beginnings, requests, st.randoms(use_true_random=False))
def test_time_that_goes_back_gives_nothing_twice(
    rate: Rate, beginning: float, gaps: list[tuple[float, int]], random: Random
) -> None:
    """Whatever the order of moments, no more than for all the time between first and last."""
    bucket, came = Bucket(rate), moments(beginning, gaps)
    random.shuffle(came)
    admitted = sum(
        units for now, units in came if units <= rate.burst and bucket.take(units, now) == 0.0
    )
    window = Fraction(max(came)[0]) - Fraction(min(came)[0])
    assert admitted <= Fraction(rate.burst) + Fraction(rate.units) * window + ROUNDING


def test_a_step_back_costs_no_more_than_itself() -> None:
    """A clock that goes back by a second adds a second to the wait."""
    bucket = Bucket(Rate(1, 1))
    assert bucket.take(1, 1000.0) == 0.0
    assert bucket.take(1, 999.0) == pytest.approx(2.0)


def test_a_bucket_that_was_idle_for_years_holds_one_burst() -> None:
    """And no unit more."""
    bucket = Bucket(Rate(1_000, 5))
    bucket.take(5, 0.0)
    assert bucket.remaining(1e9) == 5
    assert [bucket.take(1, 1e9) == 0.0 for _ in range(6)] == [True] * 5 + [False]


@given(rates, rates, beginnings, st.integers(1, 20_000))
def test_a_new_rate_keeps_what_was_spent(before: Rate, after: Rate, now: float, spent: int) -> None:
    """As many units are missing from the burst as before, be it a debt."""
    bucket = Bucket(before)
    bucket.take(spent, now)
    bucket.change(after, now)
    left = after.burst - spent
    assert bucket.remaining(now) == pytest.approx(max(0, left), abs=1)
    assert bucket.reset(now) == pytest.approx(spent / after.units, abs=float(ROUNDING))


def test_a_full_bucket_stays_full_at_a_new_rate() -> None:
    """The new burst is there at once."""
    bucket = Bucket(Rate(1, 1))
    bucket.change(Rate(5, 50), 1000.0)
    assert bucket.remaining(1000.0) == 50


@pytest.mark.parametrize(("units", "burst"), [(0, 1), (1, 0), (-1, 1), (1, -1), (float("nan"), 1)])
def test_a_rate_that_admits_nothing_is_none(units: float, burst: float) -> None:
    """It is refused where it is made."""
    with pytest.raises(ValueError, match="admits something"):
        Rate(units, burst)


class NoTimer:
    """In place of the timer that drops entries by the machine's clock."""

    def __init__(self, _seconds: float, _expire: Callable[[], None]) -> None:
        pass

    def start(self) -> None:
        """Never fire."""

    def is_alive(self) -> bool:
        """So that no other is made."""
        return True


@given(
    burst=st.integers(1, 50),
    seconds=st.integers(1, 60),
    crowds=st.lists(st.lists(st.integers(1, 20), max_size=40), max_size=5),
)
def test_another_library_admits_the_same_crowds(
    burst: int, seconds: int, crowds: list[list[int]]
) -> None:
    """PyPI's limits agrees where a window and a bucket are alike: after both were idle."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limits.storage.memory.time", SimpleNamespace(time=clock))
        patch.setattr(
            "limits.storage.memory.threading", SimpleNamespace(Timer=NoTimer, RLock=RLock)
        )
        other = MovingWindowRateLimiter(MemoryStorage())
        item = RateLimitItemPerSecond(burst, seconds)
        bucket = Bucket(Rate(burst / seconds, burst))
        for number, crowd in enumerate(crowds):
            clock.now = 1_000.0 + 3 * number * seconds
            for cost in crowd:
                # There, nothing above the limit is ever admitted.
                if cost <= burst:
                    assert (bucket.take(cost, clock.now) == 0.0) == other.hit(item, cost=cost)
