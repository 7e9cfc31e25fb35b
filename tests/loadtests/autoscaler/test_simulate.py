from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.autoscaler import load
from loadtests.autoscaler.behavior import Behavior, DownRules, Policy, Rules
from loadtests.autoscaler.hpa import Bounds
from loadtests.autoscaler.load import Load
from loadtests.autoscaler.pods import PodModel
from loadtests.autoscaler.signals import Pipeline
from loadtests.autoscaler.simulate import Run, Setup, least_pod_hours, simulate

# Pods that carry 1,000/s, at half of which metrics aim.
MODEL = PodModel(capacity=1_000, cpu_per_request=1e-3, cpu_per_refusal=1e-4)
SETUP = Setup(model=MODEL, bounds=Bounds(1, 100), target=0.5)
CONSTANT = Load("constant", "Constant", [5_000.0] * 600)
ALL = ("served", "offered", "cpu")


def stepping(signal: str, setup: Setup = SETUP) -> Run:
    """A step from 500/s to 10,000/s and back."""
    return simulate(load.step(10_000), [signal], setup)


@pytest.mark.parametrize("signal", ALL)
def test_a_constant_load_changes_nothing(signal: str) -> None:
    """Ten pods at half of their capacity stay ten, and refuse nothing."""
    outcome = simulate(CONSTANT, [signal], SETUP).outcome
    assert (outcome.changes, outcome.most_pods, outcome.refused) == (0, 10, 0)
    assert outcome.seconds_to_capacity == 0
    assert outcome.pod_hours == pytest.approx(10 * 600 / 3_600)


def test_a_step_is_seen_by_offered_load_before_served_load() -> None:
    """What is refused is no served load, so that grows only as fast as pods come."""
    free = Setup(
        model=PodModel(1_000, 1e-3, cpu_per_refusal=0.0), bounds=Bounds(1, 100), target=0.5
    )
    served, offered = (stepping(name, free).outcome for name in ("served", "offered"))
    assert offered.seconds_to_capacity is not None
    assert served.seconds_to_capacity is not None
    assert served.seconds_to_capacity > 2 * offered.seconds_to_capacity
    assert served.refused > 2 * offered.refused


def test_refusals_that_cost_much_hide_a_step_from_served_load() -> None:
    """One pod that refuses 10,000/s at 0.1 ms has no CPU left to answer anybody."""
    served = stepping("served").outcome
    assert (served.most_pods, served.seconds_to_capacity) == (1, None)


def test_served_load_with_a_high_target_never_sees_a_step() -> None:
    """Full pods are within the tolerance of 0.95 of their capacity."""
    setup = Setup(model=PodModel(cpu_per_refusal=0.0), bounds=Bounds(1, 100), target=0.95)
    run = simulate(load.step(100_000), ["served"], setup)
    assert (run.outcome.changes, run.outcome.seconds_to_capacity) == (0, None)
    assert run.outcome.seconds_short == 2_400


def test_time_to_capacity_is_the_sum_of_what_it_waits_for() -> None:
    """Sample, delay and start of a pod, when no policy slows it down: 15 + 15 + 40 s."""
    setup = Setup(
        model=MODEL,
        bounds=Bounds(1, 100),
        target=0.5,
        behavior=Behavior(Rules(0, (Policy("Pods", 100, 15),))),
        pipeline=Pipeline(interval=15, window=15, delay=15),
    )
    assert stepping("offered", setup).outcome.seconds_to_capacity == 70


def test_a_slower_start_takes_as_much_longer() -> None:
    """60 s more until a pod is ready are 60 s more until the last one is."""
    slow = Setup(
        model=PodModel(1_000, 1e-3, 1e-4, start_seconds=100), bounds=Bounds(1, 100), target=0.5
    )
    fast, late = (stepping("offered", each).outcome for each in (SETUP, slow))
    assert fast.seconds_to_capacity is not None
    assert late.seconds_to_capacity == fast.seconds_to_capacity + 60


def test_a_schedule_does_not_see_a_surprise() -> None:
    """A shortage that ends because load falls is not one that capacity ended."""
    run = simulate(load.step(10_000), ["cron"], SETUP, [(0, 1)])
    assert run.outcome.seconds_to_capacity is None
    assert run.outcome.seconds_short == 2_400
    assert run.outcome.refused > 0.9


def test_the_longest_shortage_is_told() -> None:
    """Not the last one."""
    rates = [500.0] * 60 + [2_000.0] * 300 + [500.0] * 60 + [2_000.0] * 60 + [500.0] * 60
    outcome = simulate(Load("twice", "Twice", rates), ["cron"], SETUP, [(0, 1)]).outcome
    assert outcome.seconds_short == 300


def test_what_comes_before_the_load_does_not_count() -> None:
    """A schedule of other pods than the load's first second needs is followed before it begins."""
    outcome = simulate(CONSTANT, ["cron"], SETUP, [(0, 12)]).outcome
    assert (outcome.changes, outcome.most_pods) == (0, 12)


def test_of_a_schedule_and_a_metric_the_larger_wins() -> None:
    """Four pods are scheduled before the step, and all that it needs follow."""
    alone = stepping("offered")
    both = simulate(load.step(10_000), ["cron", "offered"], SETUP, [(0, 4)])
    assert both.outcome.signal == "cron+offered"
    assert both.trace.ready[599] == 4
    assert max(both.trace.ready) == max(alone.trace.ready) == 20
    assert both.outcome.refused < alone.outcome.refused


def test_without_metrics_nothing_changes() -> None:
    """An outage over the whole step leaves the pods as they are."""
    setup = Setup(model=MODEL, bounds=Bounds(1, 100), target=0.5, outages=((0, 4_800),))
    assert set(stepping("offered", setup).trace.paid) == {1}


def test_an_outage_blocks_scaling_down_even_with_a_schedule() -> None:
    """What the metric would have asked for may be more than the schedule does."""
    falling = Load("falling", "Falling", [5_000.0] * 600 + [500.0] * 1_800)
    setup = Setup(model=MODEL, bounds=Bounds(1, 100), target=0.5, outages=((600, 2_400),))
    run = simulate(falling, ["cron", "offered"], setup, [(0, 1)])
    assert set(run.trace.ready) == {10}


def test_a_window_of_scaling_down_costs_pod_hours() -> None:
    """Five minutes more with up to 20 pods after the step."""
    hasty = Setup(
        model=MODEL,
        bounds=Bounds(1, 100),
        target=0.5,
        behavior=Behavior(scale_down=DownRules(0)),
    )
    saved = stepping("offered").outcome.pod_hours - stepping("offered", hasty).outcome.pod_hours
    assert saved == pytest.approx(19 * 300 / 3_600, rel=0.15)


def test_who_knows_in_advance_pays_least() -> None:
    """Between one pod for 40 minutes and 20 pods for the other 40."""
    knows, always = least_pod_hours(load.step(10_000), SETUP)
    assert knows == pytest.approx((20 + 1) * 2_400 / 3_600)
    assert always == pytest.approx(20 * 4_800 / 3_600)
    assert knows < stepping("offered").outcome.pod_hours < always


def test_a_day_is_carried_by_what_follows_its_load() -> None:
    """On a deadline no metric of load refuses, and the schedule for an ordinary day does."""
    day = load.find("deadline", 10_000)
    assert all(simulate(day, [signal], SETUP).outcome.refused == 0 for signal in ALL)


@pytest.mark.parametrize("target", [0.0, 1.1])
def test_a_target_that_cannot_be_is_said(target: float) -> None:
    """The message names it."""
    with pytest.raises(ValueError, match=f"target: expected .* got {target}"):
        Setup(target=target)


RATES = st.lists(st.floats(0, 50_000), min_size=1, max_size=8).map(
    lambda levels: [rate for rate in levels for _ in range(90)]
)


@settings(max_examples=30, deadline=None)
@given(RATES, st.sampled_from(ALL))
def test_what_is_offered_is_served_or_refused(rates: list[float], signal: str) -> None:
    """In every second, and never more is served than pods that are ready can."""
    trace = simulate(Load("any", "Any", rates), [signal], SETUP).trace
    for second, offered in enumerate(rates):
        served = trace.served[second]
        assert served + trace.refused[second] == pytest.approx(offered)
        assert served <= trace.capacity[second] * (1 + 1e-9)
        assert 1 <= trace.ready[second] <= trace.paid[second]
