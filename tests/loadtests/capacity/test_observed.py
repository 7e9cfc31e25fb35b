from __future__ import annotations

import pytest

from loadtests.capacity.observed import Unfit, observed
from loadtests.histogram import Histogram, bucket_of
from loadtests.result import ClassInfo, Result
from tests.loadtests.capacity import made


@pytest.fixture
def result() -> Result:
    """One worker, up to its knee and past it."""
    return made.step_run("single_cached", 1, noise=0.0)


def test_throughput_is_the_highest_goodput(result: Result) -> None:
    """That of the step at the knee; the step past it had less."""
    assert observed("run", result).throughput == pytest.approx(4_000, rel=0.001)


def test_the_step_past_the_knee_is_not_held(result: Result) -> None:
    """All others are."""
    assert [sample.held for sample in observed("run", result).samples] == [True] * 7 + [False]


def test_late_answers_are_not_prompt(result: Result) -> None:
    """Whose CPU was used by the stages that followed."""
    assert [sample.prompt for sample in observed("run", result).samples] == [True] * 7 + [False]


def test_one_slow_second_is_not_the_stage(result: Result) -> None:
    """p99 is that of the median second."""
    before = observed("run", result).samples[2].p99
    slow = result.windows[13].cells["asked"].latency
    slow.merge(Histogram({bucket_of(900_000): 500}, 0, 900_000))
    assert observed("run", result).samples[2].p99 == before
    assert result.merged(12, 18)["asked"].latency.percentile(0.99) > 0.8


def test_a_stage_behind_an_overload_has_no_steady_state() -> None:
    """Its connections are those of the overload: only what the search has tried is of use."""
    run = made.step_run("single_cached", 1, noise=0.0)
    run.stages[1].held = None
    assert [sample.held for sample in observed("run", run).samples[:3]] == [True, False, True]


def test_few_answers_have_one_p99_for_all_seconds() -> None:
    """With 30 batches a second, none of their seconds can tell its own."""
    run = made.step_run("batch_cached", 1, noise=0.0)
    slow = run.windows[3].cells["asked"].latency
    slow.merge(Histogram({bucket_of(900_000): 5}, 0, 900_000))
    assert observed("run", run).samples[0].p99 > 0.8


def test_batches_are_counted_by_their_questions() -> None:
    """A batch of 1,000 is 1,000 items, and one request."""
    first = observed("run", made.step_run("batch_cached", 1, noise=0.0)).samples[0]
    assert first.done == {"item": 30_000}
    assert (first.requests, first.offered) == (30, 30_000)


def test_refused_questions_are_not_done() -> None:
    """Half of 2,000 requests a second."""
    half = observed("run", made.refused_run(noise=0.0)).samples[1]
    assert (half.done, half.refused, half.requests) == ({"single": 1_000}, 1_000, 2_000)


def test_numbers_of_the_service_are_rates(result: Result) -> None:
    """CPU in cores, misses a second, the share of hits, connections."""
    sample = observed("run", result).samples[3]
    assert sample.misses == pytest.approx(0.02 * 3_200)
    assert sample.hit == pytest.approx(0.98)
    columns = {"single": 3_200, "single_miss": 64, "poll": 1, "wake": 3_200}
    connections = sample.connections or 0
    cores = made.costs().cores({**columns, "connection": connections}, 1)
    assert sample.workers_cpu == pytest.approx(cores)


def test_a_scrape_that_was_missed_is_made_up_for(result: Result) -> None:
    """The next one has its counts as well, so the sum is over all seconds."""
    windows = [window.service for window in result.windows[:6]]
    missed, following = windows[2], windows[3]
    assert missed is not None
    assert following is not None
    assert missed.query_keys is not None
    following.query_keys = 2 * missed.query_keys
    missed.query_keys = None
    assert observed("run", result).samples[0].misses == pytest.approx(0.02 * 800)


def test_with_most_scrapes_missed_nothing_is_said(result: Result) -> None:
    """Rather than a sum of nobody knows what."""
    for window in result.windows[:4]:
        assert window.service is not None
        window.service.query_keys = None
    assert observed("run", result).samples[0].misses is None


def test_void_runs_are_unfit(result: Result) -> None:
    """Whatever they say."""
    result.void = "the generator was late"
    with pytest.raises(Unfit, match="void: the generator was late"):
        observed("run", result)


def test_runs_against_a_strange_service_are_unfit(result: Result) -> None:
    """Nobody knows how many workers it has."""
    result.configuration["workers"] = None
    with pytest.raises(Unfit, match="workers: expected their number"):
        observed("run", result)


def test_runs_that_feed_are_unfit(result: Result) -> None:
    """The model has no cost of a line that is fed."""
    result.classes["feed"] = ClassInfo("feed", 100, 1.0)
    with pytest.raises(Unfit, match="writes to the ledger"):
        observed("run", result)


def test_wrong_answers_are_unfit(result: Result) -> None:
    """What a service that answers wrongly costs is nobody's business."""
    result.windows[0].cells["asked"].wrong = 2
    with pytest.raises(Unfit, match="2 of its answers were wrong"):
        observed("run", result)


def test_a_run_of_warm_ups_is_unfit(result: Result) -> None:
    """It has nothing to judge."""
    for stage in result.stages:
        stage.warm_up = True
    with pytest.raises(Unfit, match="expected one at least that is not a warm-up"):
        observed("run", result)
