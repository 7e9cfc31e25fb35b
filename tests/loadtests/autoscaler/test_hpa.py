"""Rounds of the controller; numbers are those of Kubernetes' own documentation and tests."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.autoscaler.behavior import Behavior, DownRules, Policy, Rules
from loadtests.autoscaler.hpa import Autoscaler, Bounds

FAST = (Policy("Percent", 1_000, 15), Policy("Pods", 1_000, 15))


def windows(up: int, down: int) -> Behavior:
    """Only windows limit."""
    return Behavior(Rules(up, FAST), DownRules(down))


def rounds(
    behavior: Behavior, start: int, wanted: Sequence[int | None], every: float, most: int = 1_000
) -> list[int]:
    """Numbers of pods after each round; one metric asks for this in each."""
    autoscaler = Autoscaler(Bounds(1, most), behavior)
    pods = [start]
    for index, each in enumerate(wanted):
        pods.append(autoscaler.sync(index * every, pods[-1], [each]))
    return pods[1:]


def test_the_highest_of_ten_minutes_is_kept_when_going_down() -> None:
    """KEP-853, story 5: ten recommendations with a 10 keep 10 pods, the eleventh goes to 9."""
    behavior = Behavior(scale_down=DownRules(600, (Policy("Pods", 5, 60),)))
    found = rounds(behavior, 10, [10, 9, 8, 9, 9, 8, 9, 8, 9, 8, 7], 60)
    assert found == [10] * 10 + [9]


def test_the_lowest_of_five_minutes_is_kept_when_going_up() -> None:
    """KEP-853, story 6: six recommendations with a 2 keep 2 pods, the seventh goes to 3.

    It keeps six of a round a minute in 300 s, so a round is a little shorter here.
    """
    behavior = Behavior(Rules(300, (Policy("Pods", 20, 60),)))
    assert rounds(behavior, 2, [2, 3, 19, 10, 3, 4, 7], 59) == [2] * 6 + [3]


@pytest.mark.parametrize(
    ("up", "down", "recommended", "current", "desired", "stable"),
    [
        pytest.param(0, 0, [], 100, 5, 5, id="nothing recommended, down"),
        pytest.param(0, 180, [(-120, 4), (-60, 5)], 100, 3, 5, id="simple down"),
        pytest.param(300, 0, [(-120, 4), (-60, 5)], 1, 7, 4, id="simple up"),
        pytest.param(300, 0, [(-120, 1), (-60, 2)], 100, 3, 3, id="no down"),
        pytest.param(0, 300, [(-120, 4), (-60, 5)], 1, 3, 3, id="no up"),
        pytest.param(0, 0, [(-600, 10), (-540, 9)], 100, 3, 3, id="obsolete, down"),
        pytest.param(0, 0, [(-600, 10), (-540, 9)], 1, 100, 100, id="obsolete, up"),
        pytest.param(
            0, 180, [(-600, 10), (-540, 9), (-120, 5), (-60, 4)], 100, 3, 5, id="one obsolete, down"
        ),
        pytest.param(
            300, 0, [(-6_000, 10), (-180, 9), (-120, 5), (-60, 6)], 1, 100, 5, id="one obsolete, up"
        ),
        pytest.param(300, 300, [(-6_000, 2), (-180, 3)], 2, 1, 2, id="not up when it goes down"),
        pytest.param(300, 300, [(-6_000, 2), (-180, 1)], 2, 3, 2, id="not down when it goes up"),
    ],
)
def test_windows(
    up: int,
    down: int,
    recommended: list[tuple[float, int]],
    current: int,
    desired: int,
    stable: int,
) -> None:
    """horizontal_test.go, TestNormalizeDesiredReplicasWithBehavior."""
    autoscaler = Autoscaler(Bounds(1, 1_000), windows(up, down))
    # What came before is not of interest, but what is remembered of it.
    autoscaler._recommended = recommended or [(-86_400, 1)]
    assert autoscaler.sync(0, current, [desired]) == stable


@pytest.mark.parametrize(
    ("current", "least", "most", "desired", "found"),
    [
        pytest.param(5, 3, 8, 7, 7, id="within range"),
        pytest.param(3, 2, 8, 1, 2, id="below min"),
        pytest.param(20, 1, 10, 1_000, 10, id="above max already"),
        pytest.param(100, 100, 150, 1_000, 150, id="above max"),
        pytest.param(1, 2, 8, 1, 2, id="below min already"),
        pytest.param(10, 1, 1_000, 50, 20, id="default behavior doubles"),
    ],
)
def test_bounds(current: int, least: int, most: int, desired: int, found: int) -> None:
    """horizontal_test.go, TestScalingWithRules, the cases of minReplicas and maxReplicas."""
    behavior = Behavior(scale_down=DownRules(0))
    assert Autoscaler(Bounds(least, most), behavior).sync(0, current, [desired]) == found


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        pytest.param([4, 8, 6], 8, id="the largest wins"),
        pytest.param([4, None], 5, id="one cannot be had: not down"),
        pytest.param([8, None], 8, id="one cannot be had: up"),
        pytest.param([None, None], 5, id="none can be had"),
    ],
)
def test_several_metrics(wanted: list[int | None], found: int) -> None:
    """Documentation, "Algorithm details", on multiple metrics and errors when fetching them."""
    assert Autoscaler(Bounds(1, 100), windows(0, 0)).sync(0, 5, wanted) == found


def test_the_first_round_remembers_how_many_there_were() -> None:
    """horizontal.go, recordInitialRecommendation: a new controller waits before going down."""
    assert rounds(Behavior(), 9, [2] * 21, 15) == [9] * 20 + [2]


def test_a_recommendation_as_old_as_its_window_counts_no_longer() -> None:
    """horizontal.go counts those after its beginning, also where the other window is longer."""
    assert rounds(windows(300, 30), 9, [9, 5, 3], 15) == [9, 9, 5]


def test_bounds_need_no_metric() -> None:
    """horizontal.go: who has too many pods, or too few, gets as many as allowed at once."""
    autoscaler = Autoscaler(Bounds(4, 10), Behavior())
    assert [autoscaler.sync(now, pods, [None]) for now, pods in ((0, 20), (15, 1))] == [10, 4]


@pytest.mark.parametrize(("least", "most"), [(0, 5), (6, 5)])
def test_bounds_that_contradict_each_other_are_said(least: int, most: int) -> None:
    """The message has both."""
    with pytest.raises(ValueError, match=f"got {least} and {most}"):
        Bounds(least, most)


POLICIES = st.lists(
    st.builds(
        Policy, st.sampled_from(["Pods", "Percent"]), st.integers(1, 300), st.integers(1, 90)
    ),
    min_size=1,
    max_size=3,
).map(tuple)
SELECT = st.sampled_from(["Max", "Min", "Disabled"])
BEHAVIORS = st.builds(
    Behavior,
    st.builds(Rules, st.integers(0, 120), POLICIES, SELECT),
    st.builds(DownRules, st.integers(0, 120), POLICIES, SELECT),
)
WANTED = st.lists(st.none() | st.integers(0, 500), min_size=1, max_size=40)


@given(BEHAVIORS, WANTED, st.integers(1, 50), st.integers(0, 150))
def test_bounds_hold_whatever_is_asked_for(
    behavior: Behavior, wanted: list[int | None], least: int, more: int
) -> None:
    """From within them the number of pods never leaves min and max."""
    autoscaler = Autoscaler(Bounds(least, least + more), behavior)
    pods = least
    for index, each in enumerate(wanted):
        pods = autoscaler.sync(index * 15, pods, [each])
        assert least <= pods <= least + more


@given(BEHAVIORS, WANTED)
def test_no_period_sees_more_than_its_policies_allow(
    behavior: Behavior, wanted: list[int | None]
) -> None:
    """A change stays within the most generous policy, counted from the start of its period."""
    seen = [(-1.0, 200)]
    autoscaler = Autoscaler(Bounds(1, 10_000), behavior)
    for index, each in enumerate(wanted):
        now = index * 15.0
        before = seen[-1][1]
        pods = autoscaler.sync(now, before, [each])
        rules, sign = (behavior.scale_up, 1) if pods > before else (behavior.scale_down, -1)
        if pods != before:
            assert rules.select_policy != "Disabled"
            assert any(
                sign * (pods - start) <= _most(policy, start)
                for policy in rules.policies
                for start in [_at(seen, now - policy.period_seconds)]
            )
        seen.append((now, pods))


def _at(seen: list[tuple[float, int]], moment: float) -> int:
    return [pods for at, pods in seen if at <= moment][-1] if moment >= 0 else seen[0][1]


def _most(policy: Policy, pods: int) -> float:
    """Percentages are rounded to the next pod."""
    return policy.value if policy.type == "Pods" else pods * policy.value / 100 + 1


@given(st.lists(st.integers(1, 100), min_size=1, max_size=60))
def test_pods_go_no_lower_than_what_was_asked_for_in_the_window(wanted: list[int]) -> None:
    """In any 300 s there are at least as many as the highest recommendation, once reached."""
    found = rounds(windows(0, 300), 1, wanted, 15)
    for index, pods in enumerate(found):
        assert pods >= max(wanted[max(0, index - 19) : index + 1])
