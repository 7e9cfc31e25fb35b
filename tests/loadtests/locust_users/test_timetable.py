"""Which stages follow each other under Locust, and how many users each second has."""

from __future__ import annotations

import pytest

from loadtests.locust_users import timetable
from loadtests.locust_users.timetable import Leg, Shares
from loadtests.scenario import Scenario, Stage, Steps, Traffic

SINGLE, BATCH = Traffic("single", "single", 3), Traffic("batch", "batch", 1, items=20)
STAGED = Scenario(
    "test",
    "two stages",
    [SINGLE, BATCH],
    stages=[
        Stage("first", 3, 40),
        Stage("second", 2, 80, rate_at_begin=40, parts={"batch": 1}),
    ],
)
SEARCH = Scenario(
    "test",
    "steps",
    [SINGLE],
    steps=Steps(first=100, factor=2.0, precision=0.2, seconds=3, beyond=(1.5,)),
)


def counts(*stages: Stage) -> list[int | None]:
    """Users of each second, and of the one after the last."""
    seconds = sum(stage.seconds for stage in stages)
    return [timetable.users(stages, second) for second in range(seconds + 1)]


def searched(held: list[bool]) -> list[Leg]:
    """The legs of a search whose steps were held or not."""
    legs, told = timetable.legs(SEARCH, 1.0), iter(held)
    found = [next(legs)]
    while True:
        try:
            found.append(legs.send(next(told) if found[-1].step else False))
        except StopIteration:
            return found


def rates(legs: list[Leg]) -> list[float]:
    """Requests a second of legs with one stage each."""
    return [leg.stages[0].rate for leg in legs]


def test_users_follow_the_stages() -> None:
    """Each second has the users that its stage's rate needs, at five requests a second of each."""
    assert counts(Stage("a", 2, 50), Stage("b", 1, 200)) == [10, 10, 40, None]


def test_users_follow_a_ramp() -> None:
    """A second of a ramp has the users for the rate in its middle."""
    assert counts(Stage("rise", 4, 40, rate_at_begin=0)) == [1, 3, 5, 7, None]


def test_users_are_whole() -> None:
    """A rate that is no multiple of a user's has one more; what only rounding adds has not."""
    assert counts(Stage("a", 1, 11)) == [3, None]
    assert counts(Stage("a", 1, 1_400 * 0.1)) == [28, None]


def test_nobody_asks_at_a_rate_of_zero() -> None:
    """A stage of a day's curve may be empty."""
    assert counts(Stage("night", 1, 0)) == [0, None]


def test_stages_are_one_leg() -> None:
    """Stages follow each other without a pause, with their rates scaled, ramps too."""
    (leg,) = timetable.legs(STAGED, 0.5)
    assert [(stage.begin_rate, stage.rate) for stage in leg.stages] == [(20, 20), (20, 40)]
    assert (leg.seconds, leg.step) == (5, False)


def test_steps_are_a_search() -> None:
    """Up until a step is not held, then between the two; then past the knee."""
    legs = searched([True, True, False, False, True])
    assert rates(legs) == pytest.approx([100, 100, 200, 400, 282.8, 237.8, 356.8], rel=0.001)
    assert [leg.step for leg in legs] == [False, True, True, True, True, True, False]
    assert legs[0].stages[0].warm_up


def test_without_a_knee_there_is_nothing_beyond() -> None:
    """When no step is held, it goes down, and ends without stages past a knee of zero."""
    assert SEARCH.steps is not None
    legs = searched([False] * SEARCH.steps.most)
    assert rates(legs)[:3] == [100, 100, 50]
    assert all(leg.step for leg in legs[1:])


def test_a_stopped_run_has_the_stages_that_were_run() -> None:
    """The stage in which it was stopped is as long as it was run; later ones are not there."""
    assert [(each.name, each.seconds) for each in timetable.cut(STAGED.stages, 4)] == [
        ("first", 3),
        ("second", 1),
    ]
    assert timetable.cut(STAGED.stages, 0) == []


def test_shares_are_the_stages_own() -> None:
    """A stage's parts replace the scenario's; a class that it leaves out has none."""
    shares = Shares(STAGED)
    assert (shares.at(0.0), shares.at(2.99)) == ([3, 4], [3, 4])
    assert shares.at(3.0) == [0, 1]


def test_the_last_shares_stay() -> None:
    """A request that is a little late for the last stage belongs to it all the same."""
    assert Shares(STAGED).at(5.01) == [0, 1]


def test_a_search_has_one_share() -> None:
    """Each step of a search has the scenario's own parts."""
    assert Shares(SEARCH).at(100.0) == [3]
