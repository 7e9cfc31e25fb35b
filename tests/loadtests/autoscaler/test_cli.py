from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from loadtests.autoscaler.cli import simulate

app = typer.Typer()
app.command()(simulate)


def called(*arguments: str) -> Result:
    """The command's end."""
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "NO_COLOR": "1"})


def test_a_step_leaves_a_table_and_a_report(tmp_path: Path) -> None:
    """A line for each signal, printed and written."""
    done = called("--load", "step", "-o", str(tmp_path))
    assert done.exit_code == 0, done.output
    for signal in ("served", "offered", "cpu", "cron", "cron+offered"):
        assert f"| {signal} " in done.output
        assert (tmp_path / f"step-{signal}.svg").stat().st_size > 1_000
    assert (tmp_path / "simulation.md").exists()


def test_options_reach_the_simulation(tmp_path: Path) -> None:
    """A model from a file, an option that overrides it, bounds, a behavior and a schedule."""
    model, behavior = tmp_path / "model.json", tmp_path / "behavior.json"
    model.write_text('{"capacity": 4000, "start_seconds": 90}')
    behavior.write_text('{"scaleDown": {"stabilizationWindowSeconds": 60}}')
    done = called(
        *("--load", "step", "--signals", "cron", "--cron", "00:00=9", "--peak", "20000"),
        *("--model", str(model), "--pod-start", "30", "--behavior", str(behavior)),
        *("--min", "2", "--max", "20", "--target", "0.6", "--outage", "10-20"),
        *("--metric-window", "30", "--metric-delay", "5", "-o", str(tmp_path)),
    )
    assert done.exit_code == 0, done.output
    setup = json.loads((tmp_path / "simulation.json").read_text())["setup"]
    assert (setup["model"]["capacity"], setup["model"]["start_seconds"]) == (4_000, 30)
    assert setup["bounds"] == {"least": 2, "most": 20}
    assert setup["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 60
    assert setup["pipeline"] == {"interval": 15, "window": 30, "delay": 5}
    assert (setup["target"], setup["outages"]) == (0.6, [[10, 20]])
    assert "00:00 9 pods" in (tmp_path / "simulation.md").read_text()


def test_a_recording_has_no_cron_unless_one_is_given(tmp_path: Path) -> None:
    """Nobody planned for it; the other signals are simulated."""
    file = tmp_path / "day.csv"
    file.write_text("seconds,requests_per_second\n0,100\n600,100\n")
    done = called("--load", str(file), "--signals", "offered,cron", "-o", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert "no cron without --cron" in done.output
    assert "| offered" in done.output
    assert not (tmp_path / "day-cron.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--load", "sunday"), "expected one of deadline"),
        (("--load", "step", "--load", "step"), "expected each name once, got step twice"),
        (("--signals", "memory"), "expected served, offered, cpu, cron"),
        (("--signals", "cpu+cpu"), "expected served, offered, cpu, cron"),
        (("--min", "9", "--max", "3"), "expected 1 ≤ min ≤ max"),
        (("--target", "2"), "target: expected"),
        (("--pod-capacity", "0"), "capacity: expected more than 0"),
        (("--metric-window", "5"), "interval, window, delay: expected"),
        (("--cron", "noon"), "--cron: expected HH:MM=PODS"),
        (("--outage", "20-10"), "expected seconds like 36000-37200"),
        (("--model", "none.json"), "none.json: No such file"),
        (("--behavior", "none.json"), "none.json: No such file"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """In one line, with exit code 2, and nothing is written."""
    done = called(*arguments, "-o", str(tmp_path / "out"))
    assert done.exit_code == 2
    assert said in done.output
    assert not (tmp_path / "out").exists()
