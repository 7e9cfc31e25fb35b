from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.capacity import usl
from loadtests.capacity.usl import Law, Parameters, Point

TRUE = Parameters(4_000, 0.05, 0.01)


def points(
    truth: Parameters = TRUE, *, seed: int = 0, noise: float = 0.02, most: int = 6, times: int = 2
) -> list[Point]:
    """What so many workers did, each number ``times`` over."""
    random = np.random.default_rng(seed)
    return [
        Point(workers, truth.at(workers) * float(np.exp(random.normal(0, noise))))
        for workers in range(1, most + 1)
        for _ in range(times)
    ]


def test_one_worker_does_lambda() -> None:
    """Neither contention nor coherency takes anything from a worker that is alone."""
    assert TRUE.at(1) == 4_000


def test_the_law_is_that_of_the_books() -> None:
    """4 workers of 1,000/s with σ 0.1 and κ 0.01: 4,000 ÷ (1 + 0.3 + 0.12)."""
    assert Parameters(1_000, 0.1, 0.01).at(4) == pytest.approx(4_000 / 1.42)


def test_exact_points_give_exact_parameters() -> None:
    """Without noise nothing is lost."""
    assert usl.fit(points(noise=0.0), draws=0).fitted == pytest.approx(TRUE, rel=1e-4)


def test_noisy_points_predict_what_was_not_measured() -> None:
    """Up to twice the workers within 10 %."""
    law = usl.fit(points(noise=0.01), draws=0)
    assert law.fitted.at(12) == pytest.approx(TRUE.at(12), rel=0.1)


def test_bands_have_the_truth_in_them() -> None:
    """A band of 90 % has it in at least 12 of 15 samples."""
    laws = [usl.fit(points(seed=seed), seed=100 + seed, draws=40) for seed in range(15)]
    inside = [law.at(6).low <= TRUE.at(6) <= law.at(6).high for law in laws]
    assert sum(inside) >= 12


def test_a_band_has_a_width_of_the_noise() -> None:
    """Points that differ by 2 % leave a band of some per cent: not of nothing, nor of half."""
    rate = usl.fit(points(), draws=100).parameter(0)
    assert 0.01 < (rate.high - rate.low) / rate.value < 0.15


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.builds(Point, st.integers(1, 16), st.floats(1.0, 1e6)),
        min_size=1,
        max_size=10,
    )
)
def test_no_parameter_is_ever_negative(given_points: list[Point]) -> None:
    """Whatever was measured, superlinear growth included."""
    law = usl.fit(given_points, draws=3)
    for parameters in (law.fitted, *law.draws):
        assert parameters.rate > 0
        assert min(parameters) >= 0


def test_one_bad_run_does_not_bend_the_law() -> None:
    """A run at half of its rate among twelve moves λ by less than 5 %."""
    spoilt = points(noise=0.005)
    spoilt[3] = spoilt[3]._replace(rate=spoilt[3].rate / 2)
    assert usl.fit(spoilt, draws=0).fitted.rate == pytest.approx(TRUE.rate, rel=0.05)


@pytest.mark.parametrize(("most", "free"), [(1, 1), (2, 2), (3, 3), (6, 3)])
def test_no_parameter_is_made_up(most: int, free: int) -> None:
    """So many numbers of workers, so many parameters; the others are 0."""
    law = usl.fit(points(most=most), draws=5)
    assert law.free == free
    assert all(value == 0 for value in law.fitted[free:])


def test_as_many_runs_as_parameters_have_no_band() -> None:
    """Nothing is left over to tell how sure they are."""
    law = usl.fit(points(most=2, times=1), draws=50)
    assert law.draws == ()
    assert law.at(2).low == law.at(2).high == pytest.approx(law.fitted.at(2))


def test_the_peak_is_where_more_do_less() -> None:
    """√((1 − σ) ÷ κ): with 0.05 and 0.01, 9.7 workers."""
    law = Law(TRUE, 3, (), (Point(1, 4_000.0),))
    assert law.peak == pytest.approx(9.747, abs=0.001)
    assert TRUE.at(9) < TRUE.at(9.747) > TRUE.at(11)


def test_without_coherency_there_is_no_peak() -> None:
    """More always do more."""
    assert Law(Parameters(4_000, 0.05), 2, (), (Point(1, 4_000.0),)).peak is None


def test_the_same_seed_gives_the_same_band() -> None:
    """A model is fitted again to the same bytes."""
    assert usl.fit(points(), seed=3, draws=5) == usl.fit(points(), seed=3, draws=5)


@pytest.mark.parametrize("bad", [[], [Point(1, 0.0)], [Point(1, 5.0), Point(2, -1.0)]])
def test_what_cannot_be_fitted_is_refused(bad: list[Point]) -> None:
    """No points, or rates that are none."""
    with pytest.raises(ValueError, match="expected at least one, and rates above 0"):
        usl.fit(bad)
