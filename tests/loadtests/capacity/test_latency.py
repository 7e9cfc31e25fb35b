from __future__ import annotations

from math import inf

import numpy as np
import pytest

from loadtests.capacity import latency
from loadtests.capacity.latency import Curve, Shape, Stage

TRUE = Shape(0.004, 0.002, 1.1)
LOADS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)


def stages(seed: int = 0, noise: float = 0.05) -> list[Stage]:
    """Stages of a service that obeys TRUE."""
    random = np.random.default_rng(seed)
    return [Stage(load, TRUE.at(load) * float(np.exp(random.normal(0, noise)))) for load in LOADS]


def test_an_idle_service_takes_its_base() -> None:
    """Nobody waits."""
    assert TRUE.at(0) == 0.004


def test_half_of_the_limit_adds_the_slope() -> None:
    """ρ ÷ (limit − ρ) is 1 there."""
    assert TRUE.at(0.55) == pytest.approx(0.004 + 0.002)


def test_from_the_limit_on_there_is_no_end() -> None:
    """A queue that grows has no p99."""
    assert TRUE.at(1.1) == inf
    assert TRUE.at(2.0) == inf


def test_the_inverse_gives_the_budget_back() -> None:
    """The utilisation that a budget allows has exactly that p99."""
    assert TRUE.at(TRUE.within(0.012)) == pytest.approx(0.012)


def test_a_budget_below_the_base_allows_nothing() -> None:
    """Not even one question meets it."""
    assert TRUE.within(0.004) == 0
    assert TRUE.within(0.001) == 0


def test_exact_stages_give_the_curve() -> None:
    """Everywhere between them, within 1 %."""
    curve = latency.fit(stages(noise=0.0), draws=0)
    for load in (0.05, 0.5, 0.75, 0.97):
        assert curve.at(load).value == pytest.approx(TRUE.at(load), rel=0.01)


def test_held_out_stages_are_predicted_within_30_percent() -> None:
    """Fitted on every other stage, with noise of 5 %."""
    every = stages(seed=5)
    curve = latency.fit(every[::2], draws=0)
    for stage in every[1::2]:
        assert curve.at(stage.utilisation).value == pytest.approx(stage.p99, rel=0.3)


def test_bands_have_the_truth_in_them() -> None:
    """A band of 90 % has it in at least 12 of 15 samples."""
    bands = [latency.fit(stages(seed), seed=100 + seed, draws=40).at(0.7) for seed in range(15)]
    assert sum(band.low <= TRUE.at(0.7) <= band.high for band in bands) >= 12


def test_no_parameter_is_ever_negative() -> None:
    """Not even when p99 falls with the load, as in a run that warms up."""
    falling = [Stage(load, 0.05 - 0.04 * load) for load in LOADS]
    curve = latency.fit(falling, draws=10)
    for shape in (curve.fitted, *curve.draws):
        assert min(shape) >= 0
        assert shape.limit > max(LOADS)


def test_no_more_is_allowed_than_was_measured() -> None:
    """A budget of a minute does not make a worker that is fuller than any that was seen."""
    assert latency.fit(stages(), draws=5).within(60.0).high == 0.98


def test_what_is_allowed_has_a_band() -> None:
    """The true utilisation for 8 ms lies within it."""
    allowed = latency.fit(stages(seed=1), draws=100).within(0.008)
    assert allowed.low < TRUE.within(0.008) < allowed.high
    assert allowed.high - allowed.low < 0.2


def test_one_slow_stage_does_not_lift_the_curve() -> None:
    """A p99 that is ten times too long in one of twelve stages moves the others by under 20 %."""
    spoilt = stages(noise=0.0)
    spoilt[4] = Stage(spoilt[4].utilisation, 10 * spoilt[4].p99)
    curve: Curve = latency.fit(spoilt, draws=0)
    for load in (0.2, 0.7, 0.9):
        assert curve.at(load).value == pytest.approx(TRUE.at(load), rel=0.2)


def test_too_few_stages_are_refused() -> None:
    """Three parameters are not told by three stages."""
    with pytest.raises(ValueError, match="expected at least 4 that were held, got 3"):
        latency.fit(stages()[:3])
