from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from loadtests import result
from loadtests.autoscaler.pods import read_model
from loadtests.capacity import cli
from loadtests.scenario import Scenario
from tests.loadtests.capacity import made


def called(*arguments: str) -> Result:
    """The command's end."""
    return CliRunner().invoke(cli.app, arguments, env={"COLUMNS": "200", "NO_COLOR": "1"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs, and the model that was fitted to them."""
    place = tmp_path_factory.mktemp("capacity")
    for label, run in made.results((1, 2, 3)):
        result.write(run, place / label)
    void = made.step_run("single_cached", 1)
    void.void = "the generator was late"
    result.write(void, place / "spoilt")
    done = called("fit", "--folder", str(place), "--draws", "10")
    assert done.exit_code == 0, done.output
    return place


def test_fit_leaves_a_model_plots_and_the_table(folder: Path) -> None:
    """Beside the runs."""
    names = {file.name for file in folder.iterdir() if file.is_file()}
    assert names == {"capacity.json", "throughput.svg", "latency.svg", "validation.md"}
    assert "| single_cached-2w-2 |" in (folder / "validation.md").read_text()


def test_fit_says_what_it_left_out(folder: Path, tmp_path: Path) -> None:
    """With the reason; without the check there is no table."""
    done = called(
        *("fit", "--folder", str(folder), "--no-check", "--draws", "10", "-o", str(tmp_path))
    )
    assert done.exit_code == 0, done.output
    assert "left out: spoilt: void: the generator was late" in done.output
    assert not (tmp_path / "validation.md").exists()
    assert json.loads((tmp_path / "capacity.json").read_text())["format"] == 1


def plan(folder: Path, *arguments: str) -> Result:
    """The plan of the issue's example, with options that are changed."""
    given = {"--rate": "50000", "--bulk-share": "0.2", "--hit": "0.6", "--p99": "50ms"}
    given |= {"--zones": "3", "--model": str(folder / "capacity.json")}
    given |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    return called("plan", *(part for pair in given.items() for part in pair))


def test_plan_prints_what_is_needed(folder: Path) -> None:
    """Pods, CPU, memory, replicas, connections, headroom, bands, and what is extrapolated."""
    done = plan(folder)
    assert done.exit_code == 0, done.output
    for said in (
        "| pods ",
        "| CPU requested ",
        "| memory ",
        "| replicas ",
        "| connections to a replica ",
        "| headroom, a zone lost ",
        "at the ends of all bands",
        "Extrapolated beyond 2 times what was measured",
        "Assumed:",
    ):
        assert said in done.output


def test_plan_writes_a_pod_for_the_simulation(folder: Path, tmp_path: Path) -> None:
    """Which reads it."""
    file = tmp_path / "pod.json"
    assert plan(folder, "--pod", str(file)).exit_code == 0
    assert read_model(file).capacity > 1_000


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (("--p99", "50"), "expected a duration above 0 like 50ms or 2s, got '50'"),
        (("--p99", "0s"), "--p99"),
        (("--p99", "1ms"), "--p99: expected more than"),
        (("--rate", "0"), "--rate"),
        (("--bulk-share", "1.2"), "--bulk-share"),
        (("--hit", "-1"), "--hit"),
        (("--zones", "0"), "--zones"),
        (("--workers-per-pod", "7"), "--workers-per-pod: expected at most 2 times the 3"),
        (("--model", "none.json"), "none.json: No such file"),
    ],
)
def test_plan_names_the_option_that_is_wrong(
    folder: Path, changes: tuple[str, ...], said: str
) -> None:
    """In words, with exit code 2."""
    done = plan(folder, *changes)
    assert done.exit_code == 2
    assert said in done.output


def test_seconds_are_a_duration(folder: Path) -> None:
    """2s is a budget as well as 2000ms."""
    assert plan(folder, "--p99", "2s").output == plan(folder, "--p99", "2000ms").output


def test_nothing_to_fit_is_said(tmp_path: Path) -> None:
    """In a line, with exit code 2, and nothing is written."""
    done = called("fit", "--folder", str(tmp_path))
    assert done.exit_code == 2
    assert "expected runs with steps up to the knee" in done.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("workers", ["0", "3..1", "1-2", "many"])
def test_measure_names_workers_that_are_none(workers: str, tmp_path: Path) -> None:
    """Before anything is started."""
    done = called("measure", "--workers", workers, "--folder", str(tmp_path / "new"))
    assert done.exit_code == 2
    assert "expected a number of at least 1, or two like 1..4" in done.output
    assert not (tmp_path / "new").exists()


def test_measure_runs_each_against_a_service_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With as many workers as wanted and the scenario's settings."""
    started: list[tuple[int, int, dict[str, str]]] = []
    parts: list[float | None] = []

    @contextmanager
    def own(
        rows: int, workers: int, settings: dict[str, str], *, cores_each: float | None
    ) -> Iterator[str]:
        started.append((rows, workers, dict(settings)))
        parts.append(cores_each)
        yield "target"

    def run(scenario: Scenario, target: str, _: object) -> result.Result:
        assert target == "target"
        return made.idle_run()

    monkeypatch.setattr(cli, "own", own)
    monkeypatch.setattr(cli, "run", run)
    done = called(
        *("measure", "--workers", "1..2", "--repeats", "1", "--rows", "5000"),
        *("--folder", str(tmp_path)),
    )
    assert done.exit_code == 0, done.output
    assert [workers for _, workers, _ in started] == [1] * 7 + [2] * 4
    assert (5_000, 1, {"VERIFIER_CACHE_ENTRIES": "1000"}) in started
    assert "11/11 batch_uncached-2w-1: done" in done.output
    assert set(parts) == {None}
    tenths = called("measure", "--workers", "1", "--cores", "0.1", "--folder", str(tmp_path / "b"))
    assert tenths.exit_code == 0, tenths.output
    assert parts[-1] == 0.1


def test_workers_have_one_core_together_at_most(tmp_path: Path) -> None:
    """Parts of a core that are more than one core are refused."""
    done = called("measure", "--workers", "1..4", "--cores", "0.3", "--folder", str(tmp_path))
    assert done.exit_code == 2
    assert "expected at most one core for 4 workers together, got 0.3 each" in " ".join(
        done.output.replace("│", " ").split()
    )
