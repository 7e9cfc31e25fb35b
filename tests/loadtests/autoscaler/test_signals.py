from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.autoscaler.hpa import Bounds
from loadtests.autoscaler.load import Load
from loadtests.autoscaler.pods import Pod, PodModel
from loadtests.autoscaler.replicas import Tolerance
from loadtests.autoscaler.signals import (
    BadSchedule,
    Pipeline,
    Signals,
    at,
    enough,
    planned,
    read_schedule,
)

# At a target of 0.5 metrics aim at 500 requests/s, or half a core, a pod.
MODEL = PodModel(capacity=1_000, cpu_per_request=1e-3, cpu_per_refusal=1e-4)
OLD = Pod(-10_000, -10_000)
EXACT = Tolerance(0.0, 0.0)


def signals(
    seconds: Sequence[tuple[float, float, float]], outages: Sequence[tuple[int, int]] = ()
) -> Signals:
    """With what a ready pod did in each second: requests served and offered, and cores."""
    found = Signals(MODEL, 0.5, Pipeline(), [(0, 7)], outages, 0)
    for each in seconds:
        found.meter.add(*each)
    return found


@pytest.mark.parametrize(("name", "pods"), [("served", 6), ("offered", 9), ("cpu", 4)])
def test_each_signal_is_its_own_metric(name: str, pods: int) -> None:
    """A pod of three serves 1,000/s of 1,500/s with 0.6 of a core: ratios of 2, 3 and 1.2."""
    found = signals([(1_000, 1_500, 0.6)] * 120)
    assert found.wanted(name, 120, [OLD] * 3, EXACT) == pods


def test_what_the_autoscaler_reads_is_late() -> None:
    """A rise is not seen for one delay, and wholly after delay and window."""
    found = signals([(500, 500, 0.5)] * 120 + [(1_000, 1_000, 1.0)] * 90)
    moments = (120, 135, 150, 165, 180, 195)
    seen = [found.wanted("offered", now, [OLD] * 4, EXACT) for now in moments]
    assert seen == [4, 4, 5, 6, 7, 8]


def test_cpu_is_seen_earlier_than_a_mean_of_a_minute() -> None:
    """The metrics server's window is 15 s."""
    found = signals([(500, 500, 0.5)] * 120 + [(1_000, 1_000, 1.0)] * 90)
    assert [found.wanted("cpu", now, [OLD] * 4, EXACT) for now in (135, 150)] == [4, 8]


def test_pods_that_start_are_counted_as_idle_on_the_way_up() -> None:
    """Two pods at twice their target and two that start: four are enough."""
    found = signals([(1_000, 1_000, 1.0)] * 120)
    young = Pod(110, 150)
    for name in ("served", "offered", "cpu"):
        assert found.wanted(name, 120, [OLD, OLD, young, young], EXACT) == 4


def test_pods_that_start_are_counted_as_full_on_the_way_down() -> None:
    """Two pods at half of their target and two without a metric: three, not one."""
    found = signals([(250, 250, 0.25)] * 120)
    young = Pod(110, 150)
    assert found.wanted("offered", 120, [OLD, OLD, young, young], EXACT) == 3


def test_cpu_of_a_pod_that_has_just_become_ready_is_set_aside() -> None:
    """Its newest sample is partly from before: only the four others are halved."""
    found = signals([(250, 250, 0.25)] * 150)
    assert found.wanted("cpu", 150, [OLD] * 4 + [Pod(90, 130)], EXACT) == 2


def test_nothing_can_be_had_in_an_outage() -> None:
    """From its first second up to its last, and a schedule needs no metric."""
    found = signals([(500, 500, 0.5)] * 200, [(100, 150)])
    assert [found.wanted("offered", now, [OLD], EXACT) for now in (99, 100, 149, 150)] == [
        1,
        None,
        None,
        1,
    ]
    assert found.wanted("cron", 120, [OLD], EXACT) == 7


def test_a_schedule_lasts_until_its_next_time() -> None:
    """The last one until the first of the next day."""
    plan = read_schedule("08:00=12, 18:30=4")
    assert [at(plan, hour * 3_600) for hour in (0, 8, 18, 19, 24, 32)] == [4, 12, 12, 4, 4, 12]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("8=12", "expected HH:MM=PODS"),
        ("24:00=1", "expected HH:MM=PODS"),
        ("08:00=1,07:00=2", "expected times in order"),
        ("08:00=1,08:00=2", "expected times in order, each once"),
    ],
)
def test_what_is_no_schedule_is_said(text: str, said: str) -> None:
    """The message says what was expected."""
    with pytest.raises(BadSchedule, match=said):
        read_schedule(text)


def test_a_plan_has_the_pods_before_they_are_needed() -> None:
    """Five minutes before the half hour in which more is expected."""
    rates = [500.0] * 1_800 + [2_000.0] * 1_800
    plan = planned(Load("a", "A", rates, rates), MODEL, 0.5, Bounds(1, 10))
    assert plan == [(0, 1), (1_500, 4)]


def test_nobody_plans_for_what_nobody_knows() -> None:
    """A recording has no plan."""
    assert planned(Load("a", "A", [1.0]), MODEL, 0.5, Bounds(1, 10)) is None


@given(st.floats(0, 1e6), st.floats(0.1, 1.0))
def test_enough_pods_are_enough(rate: float, target: float) -> None:
    """They carry a rate with the headroom that was asked for, unless max is fewer."""
    pods = enough(rate, MODEL, target, Bounds(2, 500))
    assert 2 <= pods <= 500
    assert pods == 500 or pods * MODEL.capacity * target >= rate * (1 - 1e-4)


@pytest.mark.parametrize("changes", [{"interval": 0}, {"window": 10}, {"delay": -1}])
def test_a_pipeline_that_cannot_be_is_said(changes: dict[str, int]) -> None:
    """The message has all three."""
    with pytest.raises(ValueError, match="interval, window, delay: expected"):
        Pipeline(**changes)
