from __future__ import annotations

from pathlib import Path

import pytest

from loadtests import curves, result
from loadtests.autoscaler import load
from loadtests.autoscaler.load import BadLoad
from tests.loadtests.samples import step_run


@pytest.mark.parametrize("name", curves.names())
def test_a_day_has_every_second(name: str) -> None:
    """86,400 of them, and an ordinary day is what was planned for."""
    day = load.find(name, 1_000)
    assert len(day.rates) == 86_400
    assert day.planned == load.find("ordinary", 1_000).rates


def test_an_ordinary_day_has_the_peak_that_was_asked_for() -> None:
    """At ten in the morning, where its curve says 1; a deadline has 2.2 times as much."""
    assert load.find("ordinary", 1_000).rates[36_000] == 1_000
    assert max(load.find("deadline", 1_000).rates) == pytest.approx(2_200)


def test_a_step_goes_up_by_twenty_times_and_was_not_planned() -> None:
    """From one second to the next."""
    step = load.find("step", 50_000)
    assert step.rates[599:601] == [2_500, 50_000]
    assert set(step.planned or ()) == {2_500}


def test_a_recording_is_a_line_between_its_points(tmp_path: Path) -> None:
    """Its first second becomes the first one, and nobody planned for it."""
    file = tmp_path / "my day.csv"
    file.write_text("seconds,requests_per_second\n10,0\n12,100\n14,100\n")
    found = load.find(str(file), None)
    assert (found.name, found.rates, found.planned) == ("my_day", [0, 50, 100, 100], None)


def test_a_recording_can_be_made_higher_and_longer(tmp_path: Path) -> None:
    """Its highest second has the peak, and it takes so many times as long."""
    file = tmp_path / "day.csv"
    file.write_text("seconds,requests_per_second\n0,0\n2,100\n4,100\n")
    assert load.find(str(file), 1_000, stretch=2.0).rates == [0, 250, 500, 750] + [1_000] * 4


def test_a_run_is_what_it_offered(tmp_path: Path) -> None:
    """Every second of all classes up to its end; where nothing was due, nothing was offered."""
    run = step_run()
    result.write(run, tmp_path)
    offered = {
        window.second: sum(cell.offered for cell in window.cells.values()) for window in run.windows
    }
    found = load.find(str(tmp_path), None)
    assert list(found.rates) == [offered.get(second, 0) for second in range(max(offered) + 1)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seconds,rate\n0,1\n", "line 2: expected seconds,requests_per_second"),
        ("seconds,requests_per_second\n0,1\n0,1\n", "line 3: expected ascending seconds"),
        ("seconds,requests_per_second\n0,-1\n", "line 2: expected ascending seconds and rates"),
        ("seconds,requests_per_second\n0,nan\n", "line 2: expected ascending seconds and rates"),
        ("seconds,requests_per_second\n0,many\n", "line 2: expected seconds,requests"),
        ("seconds,requests_per_second\n0,1\n", "expected at least two lines"),
        ("seconds,requests_per_second\n0,0\n9,0\n", "expected requests, got none"),
    ],
)
def test_what_is_no_recording_is_said(tmp_path: Path, text: str, said: str) -> None:
    """The message names the line."""
    file = tmp_path / "day.csv"
    file.write_text(text)
    with pytest.raises(BadLoad, match=said):
        load.find(str(file), None)


def test_a_load_that_is_not_there_is_said() -> None:
    """The message names those that there are."""
    with pytest.raises(BadLoad, match=r"expected one of deadline, .*, step, .* got 'sunday'"):
        load.find("sunday", None)
