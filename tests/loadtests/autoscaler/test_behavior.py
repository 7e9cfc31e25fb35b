"""Policies and their periods; numbers are those of Kubernetes' own documentation and tests."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from loadtests.autoscaler.behavior import (
    BadBehavior,
    Behavior,
    DownRules,
    History,
    Policy,
    Rules,
    down_limit,
    read,
    up_limit,
)
from loadtests.autoscaler.hpa import Autoscaler, Bounds

EVENTS = (1, 5, 9)


def policies(pods: int, period: int, percent: int, percent_period: int) -> tuple[Policy, ...]:
    """As generateScalingRules of horizontal_test.go: 0 leaves one out; none are the default."""
    of_pods = (Policy("Pods", pods, period),) if pods else ()
    return (*of_pods, *((Policy("Percent", percent, percent_period),) if percent else ()))


def history(added: tuple[int, ...] = (), removed: tuple[int, ...] = ()) -> History:
    """As generateEventsUniformDistribution over 120 s: each in the middle of its part."""
    found = History(1_800)
    for sign, changes in ((1, added), (-1, removed)):
        for index, change in enumerate(changes):
            found.add(-120 + (index + 0.5) * 120 / len(changes), sign * change)
    return found


@pytest.mark.parametrize(
    ("given", "current", "events", "limit"),
    [
        pytest.param((0, 0, 1, 60), 3, {}, 4, id="rounded up"),
        pytest.param((100, 60, 100, 60), 10, {}, 110, id="pods larger than percent"),
        pytest.param((2, 60, 100, 60), 10, {}, 20, id="percent larger than pods"),
        pytest.param((30, 60, 0, 0), 10, {}, 40, id="pods"),
        pytest.param((0, 0, 200, 60), 10, {}, 30, id="percent"),
        pytest.param((5, 120, 0, 0), 100, {"added": EVENTS}, 100, id="many recent events"),
        pytest.param((150, 120, 0, 0), 100, {"added": EVENTS}, 235, id="100 - 15 + 150"),
        pytest.param((0, 0, 200, 120), 100, {"added": EVENTS}, 255, id="(100 - 15) + 200 %"),
        pytest.param(
            (0, 0, 300, 300), 6, {"added": (4,), "removed": (2,)}, 16, id="up and down events"
        ),
    ],
)
def test_how_many_may_be_added(
    given: tuple[int, int, int, int], current: int, events: dict[str, Any], limit: int
) -> None:
    """horizontal_test.go, TestScalingWithRules, the cases of scaling up."""
    assert up_limit(Rules(0, policies(*given)), current, 0, history(**events)) == limit


@pytest.mark.parametrize(
    ("given", "current", "events", "limit"),
    [
        pytest.param((20, 60, 0, 0), 1_000, {}, 980, id="pods from 1,000"),
        pytest.param((20, 60, 1, 60), 100, {}, 80, id="pods larger than percent"),
        pytest.param((2, 60, 1, 60), 100, {}, 98, id="two pods or one percent"),
        pytest.param((5, 60, 0, 0), 10, {}, 5, id="pods"),
        pytest.param((0, 0, 50, 60), 10, {}, 5, id="percent"),
        pytest.param((5, 120, 0, 0), 100, {"removed": EVENTS}, 100, id="100 + 15 - 5"),
        pytest.param((0, 0, 50, 120), 100, {"removed": (2, 4, 6)}, 56, id="(100 + 12) - 50 %"),
        pytest.param(
            (0, 0, 50, 180), 10, {"added": (2,), "removed": (4,)}, 6, id="up and down events"
        ),
        pytest.param((0, 0, 10, 120), 100, {"removed": (10,) * 3}, 100, id="(100 + 30) - 10 %"),
        pytest.param((0, 0, 1_000, 120), 10, {"removed": (10,) * 3}, -360, id="below zero"),
    ],
)
def test_how_many_may_be_removed(
    given: tuple[int, int, int, int], current: int, events: dict[str, Any], limit: int
) -> None:
    """horizontal_test.go, TestScalingWithRules, the cases of scaling down."""
    assert down_limit(DownRules(0, policies(*given)), current, 0, history(**events)) == limit


def test_the_smallest_change_can_be_chosen() -> None:
    """horizontal_test.go, TestCalculateScaleUpLimit… and …DownLimit…: 1 → 2, and 5 → 3."""
    both = policies(2, 60, 50, 60)
    assert up_limit(Rules(300, both, "Min"), 1, 0, history()) == 2
    assert down_limit(DownRules(300, both, "Min"), 5, 0, history()) == 3


def test_a_direction_can_be_turned_off() -> None:
    """Documentation, "Example: disable scale down"."""
    assert down_limit(DownRules(select_policy="Disabled"), 80, 0, history()) == 80


def followed(behavior: Behavior, start: int, wanted: int, steps: int, every: int) -> list[int]:
    """Numbers of pods when a metric always asks for the same, from one round to the next."""
    autoscaler = Autoscaler(Bounds(1, 5_000), behavior)
    pods = [start]
    for step in range(steps):
        pods.append(autoscaler.sync(step * every, pods[-1], [wanted]))
    return pods


def test_eighty_pods_become_ten() -> None:
    """Documentation, "Scaling policies": 8 of 80, 8 of 72 (7.2 rounded up), from 40 on 4 each."""
    down = DownRules(0, (Policy("Pods", 4, 60), Policy("Percent", 10, 60)))
    found = followed(Behavior(scale_down=down), 80, 10, 15, 60)
    assert found == [80, 72, 64, 57, 51, 45, 40, 36, 32, 28, 24, 20, 16, 12, 10, 10]


def test_no_more_than_five_pods_a_minute() -> None:
    """Documentation, "Example: limit scale down rate": the smaller of 10 % and 5 pods."""
    limits = (Policy("Percent", 10, 60), Policy("Pods", 5, 60))
    found = followed(Behavior(scale_down=DownRules(0, limits, "Min")), 80, 30, 8, 60)
    assert [one - two for one, two in pairwise(found)] == [5, 5, 5, 5, 5, 5, 5, 5]


def test_a_policy_holds_for_its_whole_period() -> None:
    """Documentation: rounds within periodSeconds share what it allows."""
    down = DownRules(0, (Policy("Percent", 10, 60),))
    assert followed(Behavior(scale_down=down), 80, 10, 6, 15) == [80, 72, 72, 72, 72, 64, 64]


def test_the_default_doubles_or_adds_four_every_fifteen_seconds() -> None:
    """Documentation, "Default behavior": up by 100 % or 4 pods, whichever is more."""
    assert followed(Behavior(), 1, 1_000, 6, 15) == [1, 5, 10, 20, 40, 80, 160]


def test_down_to_the_smallest_at_once_after_five_minutes() -> None:
    """Documentation, "Default behavior": 100 % may go, and the window is 300 s."""
    assert followed(Behavior(), 40, 3, 21, 15) == [*[40] * 21, 3]


def test_as_fast_as_possible() -> None:
    """KEP-853, story 1: 900 % a minute goes 1 → 10 → 100 → 1000."""
    up = Rules(policies=(Policy("Percent", 900, 60),))
    assert followed(Behavior(scale_up=up), 1, 1_000, 3, 60) == [1, 10, 100, 1_000]


def test_down_by_one_in_ten_minutes() -> None:
    """KEP-853, story 2: 1000 stay 1000 until the tenth minute, then 999."""
    down = DownRules(policies=(Policy("Pods", 1, 600),), stabilization_window_seconds=0)
    found = followed(Behavior(scale_down=down), 1_000, 500, 12, 60)
    assert found == [1_000, *[999] * 10, 998, 998]


def test_up_by_one_in_five_minutes() -> None:
    """KEP-853, story 3: 1 → 2 → 3 → 4."""
    up = Rules(policies=(Policy("Pods", 1, 300),))
    assert followed(Behavior(scale_up=up), 1, 10, 3, 300) == [1, 2, 3, 4]


def test_up_as_usual_and_never_down() -> None:
    """KEP-853, story 4."""
    behavior = Behavior(scale_down=DownRules(select_policy="Disabled"))
    assert followed(behavior, 4, 1, 100, 15) == [4] * 101
    assert followed(behavior, 4, 8, 1, 15) == [4, 8]


def test_a_manifest_is_read_as_it_is(tmp_path: Path) -> None:
    """What it leaves out keeps the default of its direction, and a tolerance may be a string."""
    file = tmp_path / "behavior.json"
    file.write_text('{"scaleUp": {"tolerance": "0.05"}, "scaleDown": {"selectPolicy": "Min"}}')
    found = read(file)
    assert found.scale_up == Rules(tolerance=0.05)
    assert found.scale_down == DownRules(300, (Policy("Percent", 100, 15),), "Min")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "behavior.json"),
        ('{"scaleSideways": {}}', "scaleSideways"),
        ('{"scaleUp": {"policies": []}}', "policies: expected at least one"),
        ('{"scaleUp": {"tolerance": -1}}', "tolerance: expected 0 or more, got -1"),
        ('{"scaleDown": {"stabilizationWindowSeconds": 3601}}', "expected 0 to 3600, got 3601"),
        (
            '{"scaleUp": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 15}]}}',
            "value: expected more than 0",
        ),
        (
            '{"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1801}]}}',
            "periodSeconds: expected 1 to 1800",
        ),
    ],
)
def test_what_is_no_behavior_is_said(tmp_path: Path, text: str, said: str) -> None:
    """The message names the file, the field, and what was expected."""
    file = tmp_path / "behavior.json"
    file.write_text(text)
    with pytest.raises(BadBehavior, match=said):
        read(file)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    """The message names it."""
    with pytest.raises(BadBehavior, match=r"none\.json: No such file"):
        read(tmp_path / "none.json")
