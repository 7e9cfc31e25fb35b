from __future__ import annotations

from math import inf

import msgspec
import pytest

from loadtests.capacity.fit import NotEnough
from loadtests.capacity.validate import P99, THROUGHPUT, Trial, halves, markdown, validate
from tests.loadtests.capacity import made

EVERY = made.runs()
FOUND = validate(EVERY)


def test_halves_have_each_run_once() -> None:
    """And each number of workers of each kind is in both, when it was measured twice."""
    fitted, others = halves(EVERY)
    assert {run.label for run in fitted} | {run.label for run in others} == {
        run.label for run in EVERY
    }
    assert len(fitted) == len(others) == len(EVERY) / 2
    for half in (fitted, others):
        assert {run.workers for run in half if run.kind == "single_cached"} == {1, 2, 3, 4}


def test_a_number_that_was_measured_once_is_fitted() -> None:
    """Where a run was void, its twin is not left to be predicted from other numbers."""
    fitted, others = halves([run for run in EVERY if run.label != "single_cached-1w-2"])
    assert "single_cached-1w-1" in {run.label for run in fitted}
    assert len(fitted) - len(others) == 1


def test_throughput_of_the_others_is_predicted_within_10_percent() -> None:
    """Each run's, with noise of 2 % between runs."""
    assert len(FOUND.throughput) == 16
    assert all(abs(trial.error) <= 0.10 for trial in FOUND.throughput)


def test_p99_of_the_others_is_predicted_within_30_percent() -> None:
    """Each held stage's, with noise of 4 % in p99 and of 2 % in what is held."""
    assert len(FOUND.p99) == 7 * 16
    assert all(abs(trial.error) <= 0.30 for trial in FOUND.p99)


def test_cpu_of_the_others_is_predicted() -> None:
    """Within 10 %, of the runs that have no steps too."""
    assert len(FOUND.cores) == 7 * 16 + 3 + 2 + 3
    assert max(map(abs, FOUND.cores)) <= 0.10


def test_numbers_of_workers_that_were_not_fitted_are_predicted() -> None:
    """Measured once each, 1, 3 and 5 workers are fitted, and 2 and 4 predicted."""
    found = validate(made.runs((1, 2, 3, 4, 5), 1, noise=0.005))
    assert {trial.label.split("-")[1] for trial in found.throughput} == {"2w", "4w"}
    assert all(abs(trial.error) <= 0.10 for trial in found.throughput)


def test_a_run_that_went_differently_is_a_miss() -> None:
    """Workers that got no further than 60 % of what others did are marked in the table."""
    slow = [
        run
        if run.label != "single_cached-2w-2"
        else msgspec.structs.replace(run, samples=run.samples[:3])
        for run in EVERY
    ]
    text = markdown(validate(slow))
    assert "predicts the throughput of 16 within 10 %" not in text
    line = next(line for line in text.splitlines() if "| single_cached-2w-2 |" in line)
    assert line.endswith("| **miss** |")


def test_the_table_shows_all_predicted_runs() -> None:
    """With what was measured beside what was predicted."""
    text = markdown(FOUND)
    assert "predicts the throughput of 16 within 10 %" in text
    assert "the p99 of 112 within 30 %" in text
    assert all(f"| {trial.label} |" in text for trial in FOUND.throughput)
    assert "**miss**" not in text


@pytest.mark.parametrize(
    ("predicted", "wanted", "missed"),
    [
        (1_099.0, THROUGHPUT, False),
        (1_101.0, THROUGHPUT, True),
        (899.0, THROUGHPUT, True),
        (1_299.0, P99, False),
        (inf, P99, True),
    ],
)
def test_a_miss_is_an_error_of_more_than_is_wanted(
    predicted: float, wanted: float, missed: bool
) -> None:
    """To either side."""
    assert Trial("run", "", 1.0, 1_000.0, predicted, wanted).missed is missed


def test_one_run_of_each_kind_cannot_be_halved() -> None:
    """There would be nothing to predict."""
    with pytest.raises(NotEnough, match="expected two runs of a kind at least"):
        validate(made.runs((1,), 1))
