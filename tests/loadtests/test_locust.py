"""The same scenarios under Locust, headless, as processes of their own: it replaces sockets."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests import result
from loadtests.target import Target, own, today
from tests.loadtests.lying import lying

ROWS = 5_000


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Run a service with a small ledger."""
    with own(ROWS, 1, {}, data=tmp_path_factory.mktemp("loadtests")) as target:
        yield target


def locust(target: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Twenty seconds of the peak hour, headless."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "locust", "-f", "loadtests/scenarios/peak_hour.py"),
            *("--headless", "--host", f"http://{target}", "--rows", str(ROWS)),
            *("--until", today().isoformat(), "--duration", "20", "--rate-factor", "0.25"),
            *("--report", str(folder), "--only-summary", *more),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_twenty_seconds_of_the_peak_hour(service: Target, tmp_path: Path) -> None:
    """Every answer is right, and the run leaves the same report as the open loop's."""
    done = locust(service.host, tmp_path)
    assert done.returncode in (0, 2), done.stderr
    found = result.read(tmp_path)
    assert (found.total.wrong, found.total.lost) == (0, 0), found.wrong
    assert found.total.right > 3_000
    assert found.configuration["generator"] == "locust (closed loop)"
    assert (tmp_path / "report.html").is_file()


def test_a_wrong_answer_fails_the_run(service: Target, tmp_path: Path) -> None:
    """One invoice in 5,000 called voided that is not: exit code 1, and a failure that says so."""
    with lying(service.address, 5_000) as (address, liar):
        done = locust(f"{address[0]}:{address[1]}", tmp_path)
    assert liar.lies > 0
    assert done.returncode == 1, done.stderr
    assert "wrong: " in done.stdout + done.stderr
    assert result.read(tmp_path).total.wrong == liar.lies


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--mix", "match=lots"), "--mix"), (("--duration", "soon"), "--duration")],
)
def test_bad_options_are_named(arguments: tuple[str, str], message: str, tmp_path: Path) -> None:
    """A value that cannot be used is refused with its option, and nothing is run."""
    done = locust("127.0.0.1:1", tmp_path, *arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
