from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from loadtests.autoscaler import load, report
from loadtests.autoscaler.load import Load
from loadtests.autoscaler.report import Simulated
from loadtests.autoscaler.simulate import Setup, simulate

SIGNALS = ("served", "offered", "cron", "cron+offered")
SCHEDULE = [(0, 3), (28_800, 5)]


@pytest.fixture(scope="module")
def stepped() -> Simulated:
    """The step with all kinds of signals."""
    step = load.step(100_000)
    runs = {name: simulate(step, name.split("+"), Setup(), SCHEDULE) for name in SIGNALS}
    return Simulated(step, Setup(), runs, SCHEDULE)


@pytest.fixture(scope="module")
def folder(stepped: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its report."""
    made = tmp_path_factory.mktemp("reports") / "new"
    report.write([stepped], made)
    return made


def text_of(svg: str) -> str:
    """All words of a plot."""
    return " ".join(ElementTree.fromstring(svg).itertext())


def test_everything_is_written(folder: Path) -> None:
    """The page, the numbers, a plot that compares, and one for each signal."""
    names = {file.name for file in folder.iterdir()}
    plots = {f"step-{signal}.svg" for signal in SIGNALS}
    assert names == {"simulation.md", "simulation.json", "step.svg", *plots}
    page = (folder / "simulation.md").read_text()
    assert all(f"({name})" in page for name in ("step.svg", *plots))


def test_every_axis_has_a_unit(folder: Path) -> None:
    """And every line its name."""
    words = text_of((folder / "step-served.svg").read_text())
    for said in ("requests/s", "pods", "time (min)", "offered", "refused", "paid for", "ready"):
        assert said in words
    words = text_of((folder / "step.svg").read_text())
    for said in ("capacity (requests/s)", "time to capacity (s)", "refused (%)", "pod-hours"):
        assert said in words


def test_a_day_is_told_by_its_hours(tmp_path: Path) -> None:
    """Not by 1,440 minutes."""
    day = Load("day", "Day", [1_000.0] * 86_400)
    report.write(
        [Simulated(day, Setup(), {"offered": simulate(day, ["offered"], Setup())})], tmp_path
    )
    assert "time of day (h)" in text_of((tmp_path / "day-offered.svg").read_text())


def test_the_headline_names_the_best_and_the_worst(stepped: Simulated) -> None:
    """With the share that each refuses."""
    said = report.headline(stepped)
    assert said.startswith("Step of 20 ×: offered and cron+offered refuse 2.6 % of all (")
    assert "to capacity), cron " in said


def test_what_never_had_capacity_says_so(stepped: Simulated) -> None:
    """With the seconds that it was short."""
    lines = report.table(stepped).splitlines()
    assert "never (2,400 s)" in next(line for line in lines if line.startswith("| cron "))
    assert len({len(line) for line in lines}) == 1


def test_every_assumption_is_printed(stepped: Simulated) -> None:
    """Numbers with their units, and the schedule."""
    said = "\n".join(report.assumptions([stepped]))
    for part in (
        "a pod answers 8,000/s",
        "100 µs of CPU, a refusal 10 µs",
        "ready 40 s after",
        "3 to 60 pods",
        "70 % of a pod's capacity",
        "every 15 s",
        "up: 100 % in 15 s or 4 pods in 15 s, whichever is more; window of 0 s; tolerance of 10 %",
        "down: 100 % in 15 s; window of 300 s",
        "means of 60 s",
        "cron (Step of 20 ×): 00:00 3 pods, 08:00 5 pods",
    ):
        assert part in said


def test_numbers_are_for_programs(stepped: Simulated, folder: Path) -> None:
    """By load and signal, with what they were made from."""
    found = json.loads((folder / "simulation.json").read_text())
    outcomes = {each["signal"]: each for each in found["loads"]["step"]["outcomes"]}
    assert found["setup"]["model"]["capacity"] == 8_000
    assert outcomes["cron"]["seconds_to_capacity"] is None
    assert outcomes["offered"]["refused"] == pytest.approx(stepped.runs["offered"].outcome.refused)
