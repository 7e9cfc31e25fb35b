"""``python -m loadtests`` as people and CI run it, against the service that it brings up itself."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import typer

from loadtests import result
from loadtests.target import Target, own, today
from loadtests.terminal import leave
from tests.loadtests.lying import lying
from tests.loadtests.samples import Made, peak_hour, void
from tests.loadtests.servers import Behaviour, serving

ROWS = 5_000


def loadtests(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "loadtests", *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Run a service with a small ledger."""
    with own(ROWS, 1, {}, data=tmp_path_factory.mktemp("loadtests")) as target:
        yield target


def asking(
    target: str, folder: Path, seconds: int, rate: float
) -> subprocess.CompletedProcess[str]:
    """Some of the peak hour."""
    book = ("--rows", str(ROWS), "--until", today().isoformat())
    run = ("run", "peak_hour", "--host", f"http://{target}", "--duration", str(seconds))
    return loadtests(*run, *book, "--rate", str(rate), "-o", str(folder))


def test_twenty_seconds_of_the_peak_hour(service: Target, tmp_path: Path) -> None:
    """Every answer is right, and the run leaves its report; a busy machine may make it void."""
    # A rate that any machine carries.
    done = asking(service.host, tmp_path, 20, 0.25)
    assert done.returncode in (0, 2), done.stderr
    found = result.read(tmp_path)
    assert (found.total.wrong, found.total.lost) == (0, 0), found.wrong
    assert found.total.right > 5_000
    assert set(found.total.verdicts) == {"match", "mismatch", "not_found", "pending", "invalid"}
    assert (found.void is None) == (done.returncode == 0)
    for name in ("report.html", "report.md", "timeline.svg"):
        assert (tmp_path / name).stat().st_size > 1_000


def test_one_wrong_answer_in_ten_thousand_fails_the_run(service: Target, tmp_path: Path) -> None:
    """A service that calls one invoice in 10,000 voided that is not: exit code 1, and quoted."""
    with lying(service.address, 10_000) as (address, liar):
        done = asking(f"{address[0]}:{address[1]}", tmp_path, 6, 1.0)
    assert liar.lies > 0
    assert done.returncode == 1, done.stderr
    assert "wrong: " in done.stderr
    assert "'voided'" in done.stderr
    assert result.read(tmp_path).total.wrong == liar.lies


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nonsense"], "'nonsense': expected one of bulk, "),
        (["run", "step", "--duration", "20"], "finds its rates and its length by itself"),
        (["run", "soak", "--mix", "match=lots"], "match: expected a whole number, got 'lots'"),
        (["run", "soak", "--mix", "match"], "expected NAME=VALUE, got 'match'"),
        (["run", "soak", "--part", "3/2"], "expected K from 1 to N, got '3/2'"),
        (["run", "soak", "--part", "1/2"], "expected --start-at with it"),
        (["run", "soak", "--curve", "sunday"], "expected one of deadline, month_end, ordinary"),
        (["run", "soak", "--host", "https://localhost"], "for https run the scenario with Locust"),
        (["run", "soak", "--host", "http://127.0.0.1:1"], "nobody answers at http://127.0.0.1:1"),
        (["run", "soak", "--hook", "failover"], "expected NAME=VALUE, got 'failover'"),
        (["report", "README.md"], "README.md: "),
        (["run", "soak", "--mix", "foo=3"], "foo: expected verdicts: invalid, match, "),
        (["run", "soak", "--zipf", "9"], "expected a number from 0 to 3, got '9'"),
        (["run", "soak", "--beyond", "3"], "soak has no steps"),
        (["run", "soak", "--zipf", "nan"], "expected a number from 0 to 3, got 'nan'"),
        (["run", "soak", "--hook", "x=y"], "x: expected hooks of soak: none"),
        (["run", "failover", "--host", "http://127.0.0.1:1"], "--hook failover=COMMAND"),
        (["run", "soak", "--key", "none"], "--key: none: No such file or directory"),
        (["run", "soak", "-o", "README.md"], "README.md is no folder"),
        (["run", "soak", "--start-at", "2020-01-01T00:00:00Z"], "expected a moment to come"),
        (["run", "soak", "--host", "http://127.0.0.1:1", "--workers", "2"], "not with --host"),
        (["run", "soak", "--workers", "4", "--cores", "0.3"], "expected at most one core"),
        (["compare", "README.md", "README.md", "--budget", "none.toml"], "none.toml: No such file"),
    ],
)
def test_what_cannot_be_run_is_said_in_one_line(arguments: list[str], message: str) -> None:
    """Bad arguments name the option and what was expected, with exit code 2 and no traceback."""
    done = loadtests(*arguments)
    words = " ".join(done.stderr.replace("│", " ").split())
    assert message in words
    assert "Traceback" not in done.stderr
    assert done.returncode == 2


def test_every_scenario_is_listed() -> None:
    """The list has the ten scenarios, each with a sentence."""
    lines = loadtests("list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [
        "bulk", "cold_cache", "enumeration", "failover", "hot_invoice", "ingest_under_load",
        "peak_hour", "soak", "spike", "step",
    ]  # fmt: skip
    assert all(len(line.split()) > 4 for line in lines)


class NotHere(BaseHTTPRequestHandler):
    """Something else than the service."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Know nothing of it."""
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        """The same."""
        self.do_POST()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_service_that_answers_nothing_is_no_success(tmp_path: Path) -> None:
    """Something else listens there: exit code 2, whatever else the report says."""
    with ThreadingHTTPServer(("127.0.0.1", 0), NotHere) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        done = asking(f"127.0.0.1:{server.server_port}", tmp_path, 5, 0.02)
        server.shutdown()
        thread.join()
    assert done.returncode == 2, done.stderr
    assert "no question was answered" in done.stderr


def test_a_void_run_that_answered_nothing_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether the generator was late does not matter to whoever asked at a wrong address."""
    with pytest.raises(typer.Exit) as left:
        leave(void(peak_hour(service=Made(refusing=1.0))), tmp_path)
    assert (left.value.exit_code, capsys.readouterr().err) == (
        2,
        "error: no question was answered\n",
    )


def test_a_command_that_is_ended_cleans_up() -> None:
    """SIGTERM unwinds what was started, service and databases, as any other end does."""
    script = """
import contextlib, signal
from loadtests.terminal import plainly
with plainly(), contextlib.ExitStack() as undo:
    undo.callback(print, "cleaned up")
    print("started", flush=True)
    signal.pause()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "started\n"
        running.terminate()
        assert running.stdout.read() == "cleaned up\n"
        assert running.wait(30.0) == 128 + signal.SIGTERM


def test_parts_of_a_run_are_merged(tmp_path: Path) -> None:
    """Two machines each send their share; merged it is the whole."""
    folders = [tmp_path / "one", tmp_path / "two"]
    start = subprocess.run(
        ["date", "-d", "+7 seconds", "+%Y-%m-%dT%H:%M:%S%z"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    with serving(Behaviour()) as address:
        common = ["run", "hot_invoice", "--host", f"http://{address[0]}:{address[1]}"]
        common += ["--rows", "1000", "--until", today().isoformat(), "--start-at", start]
        common += ["--duration", "5", "--rate", "0.02", "--arrivals", "constant"]
        parts = [
            subprocess.Popen(
                [sys.executable, "-m", "loadtests", *common, "--part", part, "-o", str(folder)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for part, folder in zip(("1/2", "2/2"), folders, strict=True)
        ]
        for part in parts:
            part.wait(60.0)
    done = loadtests("merge", *map(str, folders), "-o", str(tmp_path / "both"))
    counts = [result.read(folder).total.offered for folder in (*folders, tmp_path / "both")]
    assert counts[0] + counts[1] == counts[2] > 0
    assert abs(counts[0] - counts[1]) <= 1
    # The server of this test knows nothing of the ledger.
    assert done.returncode == 1
    for some in ([folders[0]], [folders[0], folders[0]], [tmp_path / "both", folders[0]]):
        done = loadtests("merge", *map(str, some), "-o", str(tmp_path / "some"))
        assert done.returncode == 2
        assert "expected each part of one run once" in done.stderr
