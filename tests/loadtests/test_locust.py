"""The same scenarios under Locust, headless, as processes of their own: it replaces sockets."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals
from typing import NamedTuple

import pytest

from loadtests import result
from loadtests.generator.connections import Address
from loadtests.result import Result
from loadtests.target import Target, own, today
from tests.loadtests.lying import lying
from tests.loadtests.servers import Behaviour, serving

ROWS = 5_000

# For servers that answer not_found to everything.
ABSENT = """
from loadtests.locust_users import of
from loadtests.scenario import Scenario, Stage, Steps, Traffic

SCENARIO = Scenario(
    "absent",
    "questions about what is not there",
    [Traffic("single", "single", 1, within=0.2)],
    {stages},
    mix={{"not_found": 1}},
    distinct=500,
)
User, Shape = of(SCENARIO)
"""


class Ran(NamedTuple):
    """What a run has left, and said."""

    code: int
    said: str
    result: Result

    def offered(self, stage: str) -> float:
        """Requests a second of a stage."""
        (found,) = [each for each in self.result.stages if each.name == stage]
        return found.summary["single"].offered


def command(address: Address, folder: Path, stages: str, *more: str) -> list[str]:
    """Locust, headless, for questions to a server of known behaviour."""
    file = folder / "absent.py"
    file.write_text(ABSENT.format(stages=stages))
    return [
        *(sys.executable, "-W", "error::DeprecationWarning", "-m", "locust", "-f", str(file)),
        *("--headless", "--host", f"http://{address[0]}:{address[1]}", "--rows", "1000"),
        *("--report", str(folder / "report"), *more),
    ]


def absent(address: Address, folder: Path, stages: str, *more: str) -> Ran:
    """Run it to its end."""
    done = subprocess.run(
        [*command(address, folder, stages, *more), "--only-summary"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return Ran(done.returncode, done.stdout + done.stderr, result.read(folder / "report"))


@pytest.fixture(scope="module")
def overloaded(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Ask a server as much as it can answer, and then twice as much."""
    stages = 'stages=[Stage("enough", 2, 50), Stage("too much", 3, 200)]'
    with serving(Behaviour(capacity=100.0, queue=5)) as address:
        return absent(address, tmp_path_factory.mktemp("overloaded"), stages)


@pytest.fixture(scope="module")
def distributed(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Ask by a master and two workers."""
    with serving(Behaviour()) as address:
        return absent(
            address,
            tmp_path_factory.mktemp("distributed"),
            'stages=[Stage("all", 4, 100)]',
            *("--processes", "2"),
        )


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Run a service with a small ledger."""
    with own(ROWS, 1, {}, data=tmp_path_factory.mktemp("loadtests")) as target:
        yield target


def locust(
    target: str, folder: Path, *more: str, seconds: int = 20
) -> subprocess.CompletedProcess[str]:
    """Some of the peak hour, headless."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "locust", "-f", "loadtests/scenarios/peak_hour.py"),
            *("--headless", "--host", f"http://{target}", "--rows", str(ROWS)),
            *("--until", today().isoformat(), "--duration", str(seconds), "--rate-factor", "0.25"),
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
    """One invoice in 1,000 called voided that is not: exit code 1, and a failure that says so."""
    with lying(service.address, 1_000) as (address, liar):
        done = locust(f"{address[0]}:{address[1]}", tmp_path, seconds=6)
    assert liar.lies > 0
    assert done.returncode == 1, done.stderr
    assert "wrong: " in done.stdout + done.stderr
    assert result.read(tmp_path).total.wrong == liar.lies


def test_users_follow_the_stages(overloaded: Ran) -> None:
    """Each stage offers its rate from its first second to its last."""
    assert overloaded.offered("enough") == pytest.approx(50, rel=0.1)
    assert overloaded.offered("too much") == pytest.approx(200, rel=0.1)


def test_refusals_are_no_failure_of_the_run(overloaded: Ran) -> None:
    """A server that refuses what it cannot do is in order: exit code 0."""
    assert overloaded.code == 0, overloaded.said


def test_refusals_are_counted_apart(overloaded: Ran) -> None:
    """A refused request is neither wrong nor lost, and Locust shows it as refused."""
    total = overloaded.result.total
    assert total.refused > 100
    assert total.offered == total.answered + total.refused
    assert (total.wrong, total.lost) == (0, 0)
    assert f"{total.refused:<18} POST single: refused: overloaded" in overloaded.said


def test_what_is_lost_fails_the_run(tmp_path: Path) -> None:
    """Nobody listens: Locust's own exit code for errors, and a report that says so."""
    with serving(Behaviour()) as address:
        pass
    ran = absent(address, tmp_path, 'stages=[Stage("all", 2, 20)]')
    assert ran.code == 1, ran.said
    assert ran.result.total.unreachable == ran.result.total.offered > 0
    assert "lost: no connection" in ran.said


def test_workers_send_one_load(distributed: Ran) -> None:
    """Two workers together offer the stage's rate, and begin in the same second."""
    assert distributed.offered("all") == pytest.approx(100, rel=0.1)
    seconds = [window.second for window in distributed.result.windows]
    assert seconds == [0, 1, 2, 3]


def test_nothing_of_the_workers_is_lost(distributed: Ran) -> None:
    """The master's report has every request that Locust's statistics have."""
    total = distributed.result.total
    assert (distributed.code, distributed.result.generators) == (0, 2), distributed.said
    assert len(total.latency) == total.answered == total.right == total.offered
    (counted,) = set(re.findall(r"Aggregated +(\d+) +\d+\(", distributed.said))
    assert int(counted) == total.offered


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
def test_a_run_may_be_ended_early(tmp_path: Path, number: Signals) -> None:
    """SIGTERM, as a pod gets it, or Ctrl-C: what was seen until then is in the report.

    The signal arrives while Locust prints, whose greenlet swallows what is raised in it.
    """
    with (
        serving(Behaviour()) as address,
        subprocess.Popen(
            command(address, tmp_path, 'stages=[Stage("all", 60, 50)]'),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as running,
    ):
        assert running.stderr is not None
        # Locust says every other second how much it has asked; by then a second is complete.
        assert any(re.search(r"POST +single +[1-9]\d\d", line) for line in running.stderr)
        running.send_signal(number)
        running.stderr.read()
    assert running.returncode == 0
    found = result.read(tmp_path / "report")
    assert 0 < found.total.right == found.total.offered < 60 * 50


def test_locusts_own_run_time_is_the_duration(tmp_path: Path) -> None:
    """Its stages become shorter alike, as by --duration."""
    with serving(Behaviour()) as address:
        stages = 'stages=[Stage("one", 20, 20), Stage("two", 40, 20)]'
        ran = absent(address, tmp_path, stages, "-t", "6s")
    assert [(stage.begin, stage.end) for stage in ran.result.stages] == [(0, 2), (2, 6)]


def test_steps_find_the_knee(tmp_path: Path) -> None:
    """A search goes up to what a server of known capacity holds, and ends by itself."""
    steps = "steps=Steps(first=100, factor=2.0, precision=0.5, seconds=2)"
    with serving(Behaviour(capacity=150.0, queue=15)) as address:
        ran = absent(address, tmp_path, steps)
    held = max(stage.rate for stage in ran.result.stages if stage.held)
    broken = min(stage.rate for stage in ran.result.stages if stage.held is False)
    assert held <= 150 * 1.05
    assert broken <= held * 1.5


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
