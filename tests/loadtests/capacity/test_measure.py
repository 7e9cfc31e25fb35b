from __future__ import annotations

from pathlib import Path

import pytest

from loadtests import result
from loadtests.capacity.measure import Planned, flat, measure, planned, read_all, stepped
from loadtests.result import Result
from loadtests.scenario import Scenario
from tests.loadtests.capacity import made


class Runner:
    """Answers with runs that are made up; the first ``void`` of them are void."""

    def __init__(self, void: int = 0) -> None:
        self.asked: list[tuple[str, int]] = []
        self._void = void

    def __call__(self, scenario: Scenario, workers: int) -> Result:
        """One of them."""
        self.asked.append((scenario.name, workers))
        found = made.idle_run()
        found.void = "late" if len(self.asked) <= self._void else None
        return found


def test_all_kinds_are_measured_for_all_workers() -> None:
    """Four that step for each number of them, three for costs with one; each as often as asked."""
    runs = planned((1, 2, 3), 2, 8)
    assert len(runs) == len({run.label for run in runs}) == 2 * (3 * 4 + 3)
    steps = {(run.scenario.name, run.workers) for run in runs if run.scenario.steps}
    assert len(steps) == 12
    assert {run.workers for run in runs if not run.scenario.steps} == {1}


def test_costs_are_measured_whatever_workers_there_are() -> None:
    """With the fewest of those that are wanted."""
    runs = planned((3, 4), 1, 8)
    assert {run.workers for run in runs if not run.scenario.steps} == {3}


def test_repeats_come_in_turns() -> None:
    """The second round begins when the first is over, so that a slow hour harms all alike."""
    runs = planned((1, 2), 2, 8)
    assert [run.label[-1] for run in runs] == ["1"] * 11 + ["2"] * 11


def test_more_workers_begin_at_a_higher_rate() -> None:
    """The same number of steps takes them to their knee."""
    one, three = (stepped(workers, 8)[0].steps for workers in (1, 3))
    assert one is not None
    assert three is not None
    assert three.first == 3 * one.first


def test_the_knee_is_passed_and_then_left() -> None:
    """Which opens connections that the stage below it still has."""
    for scenario in stepped(1, 8):
        assert scenario.steps is not None
        over, under = scenario.steps.beyond
        assert over > 1 > under


def test_costs_are_told_apart_by_what_is_asked() -> None:
    """Streams, refusals, and a service that next to nobody asks."""
    stream, refused, idle = flat(8)
    assert stream.traffic[0].endpoint == "stream"
    assert refused.settings["VERIFIER_WAITING_SINGLES"] == "1"
    assert min(stage.rate for stage in idle.stages) == 1


def test_runs_are_kept_in_their_folders(tmp_path: Path) -> None:
    """And read again by their labels."""
    runs = planned((1,), 1, 8)[:2]
    assert [void for _, void in measure(runs, Runner(), tmp_path)] == [None, None]
    assert [label for label, _ in read_all(tmp_path)] == sorted(run.label for run in runs)


def test_a_run_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    """What was broken off goes on."""
    runs = planned((1,), 1, 8)[:2]
    result.write(made.idle_run(), tmp_path / runs[0].label)
    runner = Runner()
    assert len(list(measure(runs, runner, tmp_path))) == 2
    assert runner.asked == [(runs[1].scenario.name, 1)]


@pytest.mark.parametrize(("void", "kept"), [(1, None), (2, "late")])
def test_a_void_run_is_made_once_more(tmp_path: Path, void: int, kept: str | None) -> None:
    """And kept as void when that is void as well."""
    run: Planned = planned((1,), 1, 8)[0]
    runner = Runner(void)
    assert [reason for _, reason in measure([run], runner, tmp_path)] == [kept]
    assert len(runner.asked) == 2
    assert result.read(tmp_path / run.label).void == kept
