"""Comparing two runs: noise is not worse, what is worse is found, and some runs say nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.compare import NotComparable, WrongAnswers, bounds, compare
from loadtests.result import write
from tests.loadtests import samples
from tests.loadtests.samples import Made

LIMITS = bounds()


@pytest.mark.parametrize("seed", range(4))
def test_two_runs_of_one_service_do_not_differ(seed: int) -> None:
    """What differs by the unrest of seconds and runs alone is not called worse."""
    a, b = (samples.step_run(scale=0.1, seed=2 * seed + run) for run in (0, 1))
    assert compare(a, b, LIMITS, draws=500).worse == []


def test_what_is_slower_is_found() -> None:
    """A p99 of 1.6 times is worse, and named with its class; CPU is not."""
    a = samples.step_run(scale=0.1)
    b = samples.step_run(scale=0.1, seed=1, service=Made(slow=1.6))
    names = {figure.name for figure in compare(a, b, LIMITS, draws=500).worse}
    assert any("p99" in name for name in names)
    assert not any("CPU" in name for name in names)


def test_what_takes_more_is_found() -> None:
    """A service that needs a third more CPU for a question is worse in that."""
    a = samples.peak_hour()
    b = samples.peak_hour(seed=1, service=Made(hungry=1.33))
    assert any("CPU" in figure.name for figure in compare(a, b, LIMITS, draws=500).worse)


def test_wrong_answers_are_no_matter_of_speed() -> None:
    """A run with a wrong answer cannot be compared, whatever its figures."""
    with pytest.raises(WrongAnswers):
        compare(samples.peak_hour(), samples.wrong(samples.peak_hour(seed=1)), LIMITS)


def test_a_void_run_says_nothing() -> None:
    """Nothing is said of a run whose generator was late."""
    with pytest.raises(NotComparable, match="late"):
        compare(samples.peak_hour(), samples.void(samples.peak_hour(seed=1)), LIMITS)


def test_runs_of_different_loads_are_refused() -> None:
    """Steps and a peak hour have nothing in common."""
    with pytest.raises(NotComparable):
        compare(samples.peak_hour(), samples.step_run(scale=0.1), LIMITS)


def test_a_missing_section_is_named() -> None:
    """A section of bounds that is not there is said by its name."""
    with pytest.raises(NotComparable, match=r"no section \[nightly\]"):
        bounds("nightly")


def test_the_exit_code_says_whether_it_is_worse(tmp_path: Path) -> None:
    """0 for the same service, 1 for one that is slower, 2 when nothing can be said."""
    runs = {
        "a": samples.peak_hour(),
        "same": samples.peak_hour(seed=1),
        "slow": samples.peak_hour(seed=2, service=Made(slow=1.8)),
        "void": samples.void(samples.peak_hour(seed=3)),
    }
    for name, run in runs.items():
        write(run, tmp_path / name)
    codes = [
        subprocess.run(
            [sys.executable, "-m", "loadtests", "compare", tmp_path / "a", tmp_path / name],
            capture_output=True,
            check=False,
        ).returncode
        for name in ("same", "slow", "void")
    ]
    assert codes == [0, 1, 2]
