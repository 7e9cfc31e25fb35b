"""Comparing two runs: noise is not worse, what is worse is found, and some runs say nothing."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner

from loadtests.compare import (
    BUDGET,
    Comparison,
    NotComparable,
    WrongAnswers,
    agreed,
    bounds,
    compare,
)
from loadtests.compare.bootstrap import percentiles, spread, weights, widening
from loadtests.compare.command import compare as command
from loadtests.compare.command import table, verdict
from loadtests.histogram import Histogram
from loadtests.result import Result, write
from tests.loadtests import samples
from tests.loadtests.samples import Made

LIMITS = bounds()
_DRAWS = 250


def _worse(a: Result, b: Result) -> set[str]:
    return {figure.name for figure in compare(a, b, LIMITS, draws=_DRAWS).worse}


def _changes(compared: Comparison) -> dict[str, float]:
    return {figure.name: figure.change.value for figure in compared.figures}


def test_a_run_is_as_good_as_itself() -> None:
    """Each ratio of a run to itself is 1, each difference 0, and neither has an interval."""
    run = samples.peak_hour(seconds=6)
    for figure in compare(run, run, LIMITS, draws=_DRAWS).figures:
        same = 0.0 if figure.points else 1.0
        assert figure.change == pytest.approx((same, same, same)), figure.name


def test_runs_of_one_service_are_rarely_called_worse() -> None:
    """Of 12 pairs that differ by the unrest of seconds and runs, none is worse in any figure."""
    runs = [samples.peak_hour(seed=seed, seconds=8) for seed in range(13)]
    assert [_worse(a, b) for a, b in pairwise(runs)] == [set()] * 12


def test_steps_of_one_service_are_not_called_worse() -> None:
    """Nor are runs in steps, whose knee differs by nothing but a step."""
    runs = [samples.step_run(scale=0.05, seed=seed) for seed in range(5)]
    assert [_worse(a, b) for a, b in pairwise(runs)] == [set()] * 4


def test_short_stages_say_nothing() -> None:
    """Seconds that are hardly more than one block of the bootstrap have no interval."""
    a, b = samples.peak_hour(seconds=4), samples.peak_hour(seconds=4, seed=1)
    with pytest.raises(NotComparable, match="no stage of at least 5 s is in both runs"):
        compare(a, b, bounds())


def test_a_part_is_not_the_whole() -> None:
    """Half of a load is another load."""
    a, b = samples.peak_hour(seconds=8), samples.peak_hour(seconds=8, seed=1)
    a.configuration["part"], b.configuration["part"] = "1 of 1", "1 of 2"
    with pytest.raises(NotComparable, match="part 1 of 1 and 1 of 2"):
        compare(a, b, bounds())


def test_a_tail_of_1_6_times_is_found() -> None:
    """A p99 of 1.6 times is worse, and named with its class; CPU is not."""
    names = _worse(samples.peak_hour(), samples.peak_hour(seed=1, service=Made(slow=1.6)))
    assert {"p99 of single", "p99 of batch_small"} <= names
    assert not any("CPU" in name for name in names)


def test_two_hundredths_are_noise() -> None:
    """What is 2 % slower is within the bound, on every seed."""
    a = samples.peak_hour(seconds=8)
    slower = [
        samples.peak_hour(seed=seed, seconds=8, service=Made(slow=1.02)) for seed in range(1, 7)
    ]
    assert [_worse(a, b) for b in slower] == [set()] * 6


def test_what_is_better_is_not_worse() -> None:
    """A bound has one side: twice as fast is no reason to fail."""
    assert not _worse(samples.peak_hour(), samples.peak_hour(seed=1, service=Made(slow=0.5)))


def test_what_takes_more_is_found() -> None:
    """A service that needs a third more CPU for a question is worse in that alone."""
    a = samples.peak_hour()
    b = samples.peak_hour(seed=1, service=Made(hungry=1.33))
    assert _worse(a, b) == {"CPU of workers a question"}


def test_refusals_are_found_though_there_were_none_before() -> None:
    """Shares are compared by their difference, since no ratio to nothing says anything."""
    names = _worse(samples.peak_hour(), samples.peak_hour(seed=1, service=Made(refusing=0.05)))
    assert "requests refused" in names
    assert "goodput of single" in names


def test_a_lower_knee_is_found() -> None:
    """A service that carries a quarter less is worse in its knee."""
    a = samples.step_run(scale=0.05)
    b = samples.step_run(scale=0.05, seed=1, service=Made(capacity=16_500))
    assert "knee" in _worse(a, b)


def test_a_knee_is_known_no_better_than_its_steps() -> None:
    """Its interval reaches from one step to the next: 2,100 held, 2,400 not, in both."""
    a, b = (samples.step_run(scale=0.1, seed=seed) for seed in (0, 1))
    compared = compare(a, b, LIMITS, draws=_DRAWS)
    knee = next(figure for figure in compared.figures if figure.name == "knee")
    assert knee.change == pytest.approx((1, 2_100 / 2_400, 2_400 / 2_100))


def test_goodput_that_collapses_past_the_knee_is_found() -> None:
    """Below the knee all is as before; past it nothing is in time any more."""
    a = samples.step_run(scale=0.05)
    b = samples.step_run(scale=0.05, seed=1)
    for stage in b.stages[-2:]:
        for window in b.windows[-16:]:
            if stage.begin <= window.second < stage.end:
                window.cells["single"].good //= 10
    assert _worse(a, b) == {"goodput past the knee"}


def test_latency_next_to_the_knee_is_not_compared() -> None:
    """A step that A hardly held may be ten times as slow; those well below it tell."""
    a = samples.step_run(scale=0.05)
    b = samples.step_run(scale=0.05, seed=1)
    for window in b.windows:
        knee = b.stages[6]
        if knee.begin <= window.second < knee.end:
            cell = window.cells["single"]
            cell.latency = samples.durations(np.full(cell.answered, 0.09))
    assert knee.name == "1,050/s"
    assert not _worse(a, b)


def test_what_cannot_be_told_is_said() -> None:
    """A service that told nothing of its CPU is compared without it, and that is said."""
    a, b = samples.peak_hour(seconds=6), samples.peak_hour(seconds=6, seed=1)
    for window in b.windows:
        window.service = None
    compared = compare(a, b, LIMITS, draws=_DRAWS)
    assert "CPU of workers a question: a run has nothing to compare" in compared.missing
    assert "p99 of single" in _changes(compared)


def test_a_figure_beyond_its_bound_that_may_be_noise_is_unclear() -> None:
    """It is neither worse nor kept silent: longer runs would tell."""
    a = samples.peak_hour(seconds=6)
    b = samples.peak_hour(seconds=6, seed=1, service=Made(slow=1.3))
    compared = compare(a, b, LIMITS, draws=_DRAWS)
    assert "p99 of batch_large" in {figure.name for figure in compared.unclear}
    assert "Not clear, longer runs would tell: p99 of batch_large" in verdict(compared)


def test_rounds_in_turns_call_worse_what_is_worse_in_each() -> None:
    """One round in which the machine was slow is not enough; two are."""
    a = samples.peak_hour(seconds=8)
    slow, same = (
        compare(a, samples.peak_hour(seed=seed, seconds=8, service=made), LIMITS, draws=_DRAWS)
        for seed, made in ((1, Made(slow=1.8)), (2, Made()))
    )
    assert slow.worse
    assert agreed([slow, same]).worse == []
    assert agreed([slow, slow]).worse == slow.worse


def test_wrong_answers_are_no_matter_of_speed() -> None:
    """A run with wrong answers is not compared, though it is void too; the first is quoted."""
    wrong = samples.wrong(samples.void(samples.peak_hour(seconds=4)))
    with pytest.raises(WrongAnswers, match=r"run A: 3 of [\d,]+ answers were wrong; the first: "):
        compare(wrong, samples.peak_hour(seconds=4, seed=1), LIMITS)


def test_a_void_run_says_nothing() -> None:
    """Nothing is said of a run whose generator was late."""
    with pytest.raises(NotComparable, match="run B does not count: stage peak: the generator was"):
        compare(
            samples.peak_hour(seconds=4), samples.void(samples.peak_hour(seconds=4, seed=1)), LIMITS
        )


def test_different_scenarios_are_refused() -> None:
    """Steps and a peak hour have nothing in common."""
    with pytest.raises(NotComparable, match="different loads: scenario peak_hour and step"):
        compare(samples.peak_hour(seconds=4), samples.step_run(scale=0.05), LIMITS)


def test_different_loads_are_refused_and_everything_that_differs_is_named() -> None:
    """Class, mix and length of stages are all in the message."""
    a, b = samples.peak_hour(seconds=4), samples.peak_hour(seconds=5)
    b.classes["single"].within = 0.5
    b.configuration["mix"] = {"match": 100}
    with pytest.raises(NotComparable) as refused:
        compare(a, b, LIMITS)
    said = str(refused.value)
    assert "class single (single of 1 within 0.25 s) and (single of 1 within 0.5 s)" in said
    assert "mix {'match': 90, 'mismatch': 10} and {'match': 100}" in said
    assert "stages before (700/s, 4 s), peak (1400/s, 4 s)" in said


def test_what_else_differs_is_noted_and_compared_all_the_same() -> None:
    """Another commit or number of workers may be just what is compared."""
    a, b = samples.peak_hour(seconds=6), samples.peak_hour(seconds=6, seed=1)
    b.commit = "fedcba9"
    b.configuration["workers"] = 2
    notes = compare(a, b, LIMITS, draws=_DRAWS).notes
    assert notes == ["commit: 0123abc and fedcba9", "configuration workers: 1 and 2"]


def test_the_same_seed_gives_the_same_intervals() -> None:
    """A comparison can be made again, to the last digit."""
    a, b = samples.peak_hour(seconds=6), samples.peak_hour(seconds=6, seed=1)
    assert compare(a, b, LIMITS, draws=_DRAWS) == compare(a, b, LIMITS, draws=_DRAWS)


@pytest.mark.parametrize("section", ["compare", "parent"])
def test_the_bounds_allow_more_and_never_less_than_no_change(section: str) -> None:
    """Each bound of budget.toml is on its own side of no change."""
    limits = bounds(section)
    assert min(limits.p50, limits.p99, limits.cpu_workers, limits.cpu_databases) > 1
    assert max(limits.goodput, limits.knee, limits.past_knee) < 1
    assert min(limits.refused, limits.unavailable) > 0


def test_a_missing_section_is_named() -> None:
    """A section of bounds that is not there is said by its name."""
    with pytest.raises(NotComparable, match=r"budget.toml: there is no section \[nightly\]"):
        bounds("nightly")


def test_a_bound_that_is_missing_is_named(tmp_path: Path) -> None:
    """A section has every bound, or says which it lacks."""
    file = tmp_path / "own.toml"
    file.write_text(BUDGET.read_text().replace("p99 =", "p98 ="))
    with pytest.raises(NotComparable, match=r"own.toml, section \[compare\]: .*`p99`"):
        bounds(file=file)


@pytest.mark.parametrize("length", [8, 60])
def test_an_interval_holds_what_is_true_as_often_as_it_says(length: int) -> None:
    """Of 300 means of seconds that hang together, nearly all 99 % intervals hold the true 10."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        noise = random.normal(0, 1, length + 1)
        seconds = 10 + noise[1:] + 0.3 * noise[:-1]
        drawn = weights([length], random, 400)
        found = spread(drawn @ seconds / length, widening([length]))
        held += found.low <= 10 <= found.high
    assert held >= 291


def test_few_seconds_are_less_sure_than_many() -> None:
    """Intervals of short stages are wider than their draws, those of long ones hardly."""
    short, long = widening([8]), widening([3_600])
    assert short > 1.5
    assert 1 < long < 1.02


def test_a_draw_takes_as_many_seconds_of_a_stage_as_it_has() -> None:
    """Stages keep their weight, whatever their length."""
    drawn = weights([7, 20, 1], np.random.default_rng(0), 50)
    assert drawn.shape == (51, 28)
    assert (drawn[0] == 1).all()
    assert (drawn[:, :7].sum(axis=1) == 7).all()
    assert (drawn[:, 7:27].sum(axis=1) == 20).all()


def test_percentiles_of_a_draw_are_those_of_the_histograms_merged() -> None:
    """The draw as it was has exactly the percentiles that the report shows."""
    seconds = [
        window.cells["single"].latency for window in samples.peak_hour(seconds=6).windows[:10]
    ]
    found = percentiles(weights([10], np.random.default_rng(0), 5), seconds, (0.5, 0.99))
    whole = Histogram.of(seconds)
    assert [values[0] for values in found] == whole.percentiles((0.5, 0.99))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a service, of it again, and of runs that are no good."""
    folder = tmp_path_factory.mktemp("results")
    for name, run in {
        "a": samples.peak_hour(seconds=8),
        "same": samples.peak_hour(seconds=8, seed=1),
        "slow": samples.peak_hour(seconds=8, seed=2, service=Made(slow=1.8)),
        "void": samples.void(samples.peak_hour(seconds=8, seed=3)),
        "wrong": samples.wrong(samples.peak_hour(seconds=8, seed=4)),
    }.items():
        write(run, folder / name)
    return folder


@pytest.mark.parametrize(
    ("runs", "code", "said"),
    [
        ("a same", 0, "B is not worse."),
        ("a slow", 1, "B is worse in p99 of single: "),
        ("a slow a same", 0, "B is not worse."),
        ("a wrong", 1, "run B: 3 of "),
        ("void a", 2, "nothing can be said: run A does not count"),
        ("a nowhere", 2, "nothing can be said: "),
        ("a", 2, "expected A B, or A B A B"),
    ],
)
def test_the_exit_code_says_what_the_words_say(
    folder: Path, runs: str, code: int, said: str
) -> None:
    """0 when B is not worse, 1 when it is or answers were wrong, 2 when nothing can be said."""
    app = Typer()
    app.command()(command)
    done = CliRunner().invoke(app, [str(folder / name) for name in runs.split()])
    assert (done.exit_code, said in done.output) == (code, True), done.output


def test_the_table_is_markdown_with_all_figures() -> None:
    """Each figure has its row, with both values, the interval and the bound."""
    compared = compare(
        samples.peak_hour(seconds=6), samples.peak_hour(seconds=6, seed=1), LIMITS, draws=_DRAWS
    )
    lines = table(compared).splitlines()
    assert {line.count("|") for line in lines if line} == {8}
    assert len([line for line in lines if line]) == len(compared.figures) + 2
