from __future__ import annotations

from loadtests.report import headline, judge
from loadtests.report.budgets import knee, told
from loadtests.result import Result
from tests.loadtests import samples
from tests.loadtests.samples import Made


def test_steps_say_what_is_held_within_the_budget_and_where_the_knee_is(steps: Result) -> None:
    """The headline of a run in steps is the one that an SRE asked for."""
    assert headline(steps) == "holds 1,800/s within 20 ms; the knee is at 2,100/s"


def test_steps_without_a_budget_say_the_p99_at_the_knee() -> None:
    """Without a budget the latency at the knee stands in its place."""
    said = headline(samples.step_run(scale=0.1, budget={}))
    assert said.startswith("holds 2,100/s with a p99 of ")
    assert said.endswith("the knee is at 2,100/s")


def test_a_knee_that_was_not_reached_is_not_claimed() -> None:
    """When every step was held, the knee is somewhere above."""
    run = samples.step_run(scale=0.1, service=Made(capacity=40_000))
    assert knee(run).broken is None
    assert headline(run).endswith("the knee was not reached, the highest step was 2,400/s")


def test_no_step_held_is_said() -> None:
    """A service that does not carry the first step has no knee to report."""
    run = samples.step_run(scale=0.1, service=Made(capacity=5_000))
    assert judge(run)[:2] == ("missed", "does not hold even its lowest step, 600/s")


def test_no_step_within_the_budget_is_a_miss() -> None:
    """Held is not enough: the budget has to be kept on some step."""
    verdict = judge(samples.step_run(scale=0.1, budget={"single": 0.001}))
    assert verdict[:2] == ("missed", "holds no step within 1 ms; the knee is at 2,100/s")


def test_the_headline_is_about_the_highest_step_within_the_budget(steps: Result) -> None:
    """Curve and p99 on the first screen are those of the rate in the headline."""
    assert [stage.rate for stage in told(steps)] == [1_800]


def test_stages_say_how_much_was_answered_and_the_worst_p99(peak: Result) -> None:
    """The p99 is that of the worst stage, and not of all together."""
    verdict = judge(peak)
    worst = max(stage.summary["single"].latency["p99"] for stage in peak.stages[1:])
    assert verdict.kind == "holds"
    assert verdict.headline.startswith("answered 425,740 questions at up to 1,400 requests/s, none")
    assert f"of single {worst * 1e3:.1f} ms (budget 50 ms): holds" in verdict.headline


def test_the_warm_up_may_miss_the_budget() -> None:
    """What has just been started is not judged."""
    run = samples.peak_hour(seconds=6)
    for window in run.windows[:3]:
        window.cells["single"].latency.record(9.0)
    assert judge(run).kind == "holds"


def test_a_missed_budget_names_class_stage_and_both_numbers() -> None:
    """Whoever reads that the budget was missed knows where, and by how much."""
    verdict = judge(samples.peak_hour(seconds=6, budget={"single": 0.003}))
    assert verdict.kind == "missed"
    assert verdict.headline.startswith("misses its budget: p99 of single ")
    assert "(budget 3 ms) in stage peak" in verdict.headline


def test_a_class_with_a_budget_that_was_not_answered_misses_it(dead: Result) -> None:
    """No answer is not a fast answer."""
    verdict = judge(dead)
    assert verdict.kind == "missed"
    assert "p99 of single none answered (budget 50 ms)" in verdict.headline


def test_a_run_that_answered_nothing_does_not_hold() -> None:
    """Without a budget too, a service that is away is an error."""
    verdict = judge(samples.dead(samples.peak_hour(seconds=4, budget={})))
    assert verdict.kind == "errors"


def test_requests_without_an_answer_come_first() -> None:
    """Three lost requests of many thousands are said, and how they were lost."""
    verdict = judge(samples.failing(samples.peak_hour(seconds=6)))
    assert verdict.kind == "errors"
    assert verdict.headline.startswith("3 of 16,")
    assert "requests got no answer (2 cut off and 1 hung); answered" in verdict.headline


def test_refusals_are_no_errors_but_are_said() -> None:
    """A run that holds by refusing says so in its headline."""
    verdict = judge(samples.peak_hour(seconds=6, service=Made(refusing=0.12)))
    assert verdict.kind == "holds"
    assert "% of the requests refused" in verdict.headline


def test_a_void_run_does_not_count() -> None:
    """Why it is void stands in the place of its numbers, good or bad."""
    verdict = judge(samples.void(samples.peak_hour(seconds=4, budget={"single": 0.001})))
    assert verdict.kind == "void"
    assert verdict.headline.startswith("this run does not count: stage peak: the generator was")


def test_wrong_answers_come_before_everything() -> None:
    """A void run with wrong answers is a service that gives wrong answers."""
    verdict = judge(samples.wrong(samples.void(samples.peak_hour(seconds=4))))
    assert verdict.kind == "wrong"
    assert verdict.headline.startswith("3 of ")


def test_a_wrong_answer_in_the_warm_up_is_one() -> None:
    """Being cold is no reason to be wrong."""
    run = samples.peak_hour(seconds=4)
    cell = run.windows[0].cells["single"]
    cell.right, cell.wrong = cell.right - 1, 1
    assert judge(run).kind == "wrong"
