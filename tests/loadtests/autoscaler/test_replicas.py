"""The documented arithmetic; numbers are those of Kubernetes' own documentation and tests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.autoscaler.replicas import (
    Sample,
    Tolerance,
    by_average,
    by_total,
    by_utilization,
    unready,
)

DEFAULT = Tolerance()


def pods(*usages: int | None, unready: int = 0, request: int = 1_000) -> list[Sample]:
    """Pods with these metrics, of which the first so many are not ready."""
    return [
        Sample(usage, unready=index < unready, request=request)
        for index, usage in enumerate(usages)
    ]


@pytest.mark.parametrize(("value", "wanted"), [(200, 6), (100, 3), (50, 2)])
def test_twice_the_value_takes_twice_the_pods(value: int, wanted: int) -> None:
    """Documentation, "Algorithm details": 200m for 100m doubles, 50m halves."""
    assert by_average(3, pods(value, value, value), 100, DEFAULT) == wanted


def test_fifty_pods_at_ninety_per_cent_of_seventy_five() -> None:
    """The formula, ceil(50 × 90 ÷ 75), makes 60."""
    assert by_utilization(50, pods(*[900] * 50), 75, DEFAULT) == 60


@pytest.mark.parametrize(("percent", "wanted"), [(105, 100), (110, 100), (125, 125), (90, 100)])
def test_nothing_is_done_within_the_tolerance(percent: int, wanted: int) -> None:
    """Documentation: a ratio within 0.1 of 1.0 is close enough, its ends included."""
    assert by_utilization(100, pods(*[percent * 10] * 100), 100, DEFAULT) == wanted


@pytest.mark.parametrize(("tolerance", "wanted"), [(0.1, 100), (0.05, 107)])
def test_a_hundred_pods_at_a_ratio_of_1_07(tolerance: float, wanted: int) -> None:
    """KEP-4951, "Summary": 107 pods with a tolerance of 5 %, no change with 10 %."""
    assert by_utilization(100, pods(*[1_070] * 100), 100, Tolerance(up=tolerance)) == wanted


@pytest.mark.parametrize(("mebibytes", "wanted"), [(105, 20), (106, 22)])
def test_a_scale_up_tolerance_of_five_per_cent(mebibytes: int, wanted: int) -> None:
    """Documentation, "Tolerance": with a target of 100 MiB it scales above 105 MiB."""
    usage = pods(*[mebibytes * 2**20 * 1_000] * 20)
    assert by_average(20, usage, 100 * 2**20 * 1_000, Tolerance(up=0.05)) == wanted


@pytest.mark.parametrize(
    ("tolerance", "usages", "wanted"),
    [
        (Tolerance(up=0.0, down=0.0), (909, 1010, 1111), 4),
        (Tolerance(up=2.0), (1890, 1910, 1900), 3),
        (Tolerance(up=0.08, down=2.0), (1100, 1080, 1090), 4),
        (Tolerance(down=0.36), (660, 640, 650), 3),
        (Tolerance(down=0.34), (660, 640, 650), 2),
    ],
)
def test_tolerances_differ_by_direction(
    tolerance: Tolerance, usages: tuple[int, ...], wanted: int
) -> None:
    """replica_calculator_test.go, TestReplicaCalcConfigurableTolerance."""
    requests = (900, 1_000, 1_100)
    seen = [Sample(usage, request=of) for usage, of in zip(usages, requests, strict=True)]
    assert by_utilization(3, seen, 100, tolerance) == wanted


@pytest.mark.parametrize(
    ("current", "seen", "target", "wanted"),
    [
        pytest.param(3, pods(300, 500, 700), 30, 5, id="scale up"),
        pytest.param(3, pods(300, 500, 700, unready=1), 30, 4, id="unready pod scales less"),
        pytest.param(3, pods(500, 700, 400, unready=2), 30, 3, id="unready pods ignored"),
        pytest.param(2, pods(500, 700), 30, 4, id="pods being deleted are ignored"),
        pytest.param(5, pods(100, 300, 500, 250, 250), 50, 3, id="scale down"),
        pytest.param(5, pods(250, 250, 100, 300, 500, unready=2), 50, 2, id="exclude unready"),
        pytest.param(5, pods(*[None] * 4, 100, unready=4), 50, 1, id="exclude unscheduled"),
    ],
)
def test_pods_that_are_not_ready(
    current: int, seen: list[Sample], target: int, wanted: int
) -> None:
    """replica_calculator_test.go, TestReplicaCalcResourceScale: they dampen only scaling up."""
    assert by_utilization(current, seen, target, DEFAULT) == wanted


@pytest.mark.parametrize(
    ("current", "seen", "target", "wanted"),
    [
        pytest.param(4, pods(400, 95, None, None), 100, 3, id="MissingMetrics"),
        pytest.param(2, pods(1000, None), 100, 2, id="NoChangeEq"),
        pytest.param(2, pods(1900, None), 100, 2, id="NoChangeGt"),
        pytest.param(2, pods(600, None), 100, 2, id="NoChangeLt"),
        pytest.param(3, pods(100, 450, None, unready=1), 50, 3, id="UnreadyChange"),
        pytest.param(3, pods(100, 2000, None, unready=1), 50, 4, id="UnreadyScaleUp"),
        pytest.param(4, pods(100, 100, 100, None, unready=1), 50, 3, id="UnreadyScaleDown"),
        pytest.param(2, pods(100, 100, None), 50, 2, id="RollingUpdateWithMaxSurge"),
    ],
)
def test_cpu_that_is_missing(current: int, seen: list[Sample], target: int, wanted: int) -> None:
    """replica_calculator_test.go, TestReplicaCalcMissingMetrics*: 0 % going up, 100 % down."""
    assert by_utilization(current, seen, target, DEFAULT) == wanted


def test_cpu_that_is_missing_for_a_target_above_what_is_requested() -> None:
    """replica_calculator_test.go, …ScaleDownTargetOver100: then it counts as the target."""
    seen = [Sample(200, unready=True), Sample(100), Sample(100, request=2_000)]
    seen.append(Sample(None, request=2_000))
    assert by_utilization(4, seen, 300, DEFAULT) == 2


@pytest.mark.parametrize(
    ("current", "usages", "target", "wanted"),
    [
        pytest.param(3, (20_000, 10_000, 30_000), 15_000, 4, id="ScaleUpCM"),
        pytest.param(3, (50_000, 10_000, 30_000), 15_000, 6, id="HotCpuNoLessScale"),
        pytest.param(3, (50_000, 15_000, 30_000), 15_000, 7, id="HotCpuScaleWouldScaleDown"),
        pytest.param(5, (12_000,) * 5, 20_000, 3, id="ScaleDownCM"),
        pytest.param(3, (20_000, 21_000, 21_000), 20_000, 3, id="ToleranceCM"),
        pytest.param(5, (20_000, 19_000, 21_000, None, None), 20_000, 5, id="MissingNoChangeEq"),
        pytest.param(2, (10_000, 10_000, None), 17_000, 2, id="RollingUpdateWithMaxSurgeCM"),
    ],
)
def test_metrics_of_pods(
    current: int, usages: tuple[int | None, ...], target: int, wanted: int
) -> None:
    """replica_calculator_test.go, the cases of metricType podMetric."""
    assert by_average(current, pods(*usages), target, DEFAULT) == wanted


@pytest.mark.parametrize(
    ("current", "total", "target", "tolerance", "wanted"),
    [
        pytest.param(3, 8_600, 2_150, 0.1, 4, id="ScaleUpPerPodCMExternal"),
        pytest.param(5, 8_600, 2_867, 0.1, 3, id="ScaleDownPerPodCMExternal"),
        pytest.param(3, 8_600, 2_900, 0.1, 3, id="TolerancePerPodCMExternal"),
        pytest.param(3, 8_600, 2_800, 0.01, 4, id="ConfigurableTolerancePerPodCMExternal"),
    ],
)
def test_one_number_for_all_pods(
    current: int, total: int, target: int, tolerance: float, wanted: int
) -> None:
    """replica_calculator_test.go, the cases of metricType externalPerPodMetric."""
    assert by_total(current, total, target, Tolerance(up=tolerance)) == wanted


def test_a_pod_that_is_not_ready_counts_with_what_it_requests() -> None:
    """300m of 400m are 75 % of a target of 50 %: 1.5 times two pods, not 6 times one."""
    seen = [Sample(300, request=100), Sample(300, unready=True, request=300)]
    assert by_utilization(2, seen, 50, DEFAULT) == 3


def test_utilization_is_a_whole_per_cent() -> None:
    """replica_calculator.go divides whole numbers: 100.9 % are 100 %."""
    exact = Tolerance(0.0, 0.0)
    assert [by_utilization(9, pods(*[usage] * 9), 100, exact) for usage in (1_009, 1_010)] == [
        9,
        10,
    ]


@pytest.mark.parametrize("seen", [pods(None, None), pods(900, unready=1)])
def test_a_metric_that_no_ready_pod_has_cannot_be_had(seen: list[Sample]) -> None:
    """replica_calculator.go: an error, not a number of pods."""
    assert by_utilization(2, seen, 50, DEFAULT) is None


@pytest.mark.parametrize(
    ("started", "changed", "ready", "sampled", "window", "aside"),
    [
        pytest.param(-60, -30, True, 0, 30, False, id="fresh metrics during initialization"),
        pytest.param(-60, -30, True, 0, 60, True, id="no fresh metrics during initialization"),
        pytest.param(-180, -180, True, -120, 60, False, id="no fresh metrics after it"),
        pytest.param(-600, -540, False, -600, 0, False, id="unready, but was ready after it"),
        pytest.param(-600, -594, False, -600, 0, True, id="never ready after it"),
    ],
)
def test_cpu_of_pods_that_are_starting(
    started: int, changed: int, ready: bool, sampled: int, window: int, aside: bool
) -> None:
    """replica_calculator_test.go, TestGroupPods, with its periods of 2 min and 10 s."""
    found = unready(
        0,
        started=started,
        ready=ready,
        changed=changed,
        sampled=sampled,
        window=window,
        cpu_initialization=120,
        initial_delay=10,
    )
    assert found is aside


@given(
    st.lists(st.builds(Sample, st.none() | st.integers(0, 5_000), st.booleans()), min_size=1),
    st.integers(1, 200),
)
def test_what_is_not_known_never_turns_a_decision(seen: list[Sample], target: int) -> None:
    """Pods without metrics, or not ready, never make more pods of fewer, nor fewer of more."""
    known = [pod for pod in seen if pod.usage is not None and not pod.unready]
    decided = by_utilization(len(seen), seen, target, DEFAULT)
    if not known:
        assert decided is None
        return
    assert decided is not None
    percent = sum(pod.usage or 0 for pod in known) * 100 // (1_000 * len(known))
    if percent > target:
        assert decided >= len(seen)
    if percent < target:
        assert decided <= len(seen)
