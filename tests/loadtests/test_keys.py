"""A key of the service under load: every request has it, and nobody else sees it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from loadtests.processes import children
from tests.cli.test_credentials import KEY


class Asked:
    """What a service has been asked with."""

    def __init__(self) -> None:
        self.url = ""
        self.keys: list[str | None] = []

    @contextmanager
    def answering(self) -> Iterator[Asked]:
        """Answer who has the key, wrongly: so that wrong answers are quoted."""
        keys = self.keys

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                key = self.headers["Authorization"]
                keys.append(key)
                body = b'{"verdict":"pending"}'
                self.send_response(200 if key == f"Bearer {KEY}" else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                self.send_error(404)

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            self.url = f"http://127.0.0.1:{server.server_port}"
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


class Ran(NamedTuple):
    """A run: its exit code, what it said, and what /proc has shown of all of its processes."""

    code: int
    said: str
    lines: set[str]
    inherited: set[str]


def below(pid: int) -> list[int]:
    """All processes that one has started, and those that they have."""
    return [each for child in children(pid) for each in (child, *below(child))]


def ran(command: Sequence[str], folder: Path, **environ: str) -> Ran:
    """Run a command to its end, looking at its processes again and again."""
    lines, inherited = set[str](), set[str]()
    log = folder / "said"
    with (
        log.open("w") as said,
        subprocess.Popen(
            [sys.executable, *command], env=os.environ | environ, stdout=said, stderr=said
        ) as running,
    ):
        while running.poll() is None:
            family = below(running.pid)
            for pid in (running.pid, *family):
                try:
                    lines.add(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
                    if pid in family:
                        inherited.add(Path(f"/proc/{pid}/environ").read_text())
                except OSError:
                    continue  # it has ended meanwhile
            try:
                running.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
    return Ran(running.returncode, log.read_text(), lines, inherited)


def run_of(asked: Asked, folder: Path, *more: str) -> list[str]:
    """The shortest run, by two generators."""
    return [
        *("-m", "loadtests", "run", "hot_invoice", "--host", asked.url, "--rows", "1000"),
        *("--duration", "5", "--rate", "0.05", "--generators", "2", "-o", str(folder), *more),
    ]


def locust_of(asked: Asked, folder: Path, *more: str) -> list[str]:
    """The same by Locust, with two workers."""
    return [
        *("-m", "locust", "-f", "loadtests/scenarios/hot_invoice.py", "--headless", "--host"),
        *(asked.url, "--rows", "1000", "--duration", "5", "--rate-factor", "0.05"),
        *("--processes", "2", "--report", str(folder), *more),
    ]


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    """A file that holds the key."""
    file = tmp_path / "key"
    file.write_text(KEY)
    file.chmod(0o600)
    return str(file)


def secret(ran: Ran, folder: Path) -> None:
    """Fail when the key stands anywhere: on a command line, on the terminal, in a report."""
    body = KEY[9:]
    assert not [line for line in ran.lines if body in line]
    assert body not in ran.said
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert "result.json" in {file.name for file in files}
    assert not [file for file in files if body.encode() in file.read_bytes()]


def test_a_run_keeps_its_key_to_itself(tmp_path: Path) -> None:
    """Given by the environment, which generators and hooks do not inherit."""
    with Asked().answering() as asked:
        done = ran(run_of(asked, tmp_path / "report"), tmp_path, VERIFIER_KEY=KEY)
    assert set(asked.keys) == {f"Bearer {KEY}"}
    assert done.code == 1, done.said
    assert "wrong: " in done.said
    assert [line for line in done.lines if "loadtests.sender" in line]
    assert done.inherited
    assert not [environ for environ in done.inherited if KEY in environ]
    secret(done, tmp_path / "report")


def test_locust_keeps_its_key_to_itself(tmp_path: Path, key_file: str) -> None:
    """Workers have it from who leads them, and the process that watches does not have it."""
    with Asked().answering() as asked:
        done = ran(locust_of(asked, tmp_path / "report", "--key", key_file), tmp_path)
    assert set(asked.keys) == {f"Bearer {KEY}"}
    assert done.code == 1, done.said
    assert [line for line in done.lines if "locust_users.watcher" in line]
    secret(done, tmp_path / "report")


def test_a_run_without_a_key_says_that_one_is_wanted(tmp_path: Path) -> None:
    """Where all requests were denied, nothing was answered: exit code 2 with a hint."""
    with Asked().answering() as asked:
        done = ran(run_of(asked, tmp_path / "report"), tmp_path)
    assert set(asked.keys) == {None}
    assert done.code == 2
    assert "hint: the service wants a key that may ask: --key FILE" in done.said


@pytest.mark.parametrize(
    ("key", "message"),
    [(KEY, "got a key itself"), ("none", "--key: none: No such file or directory")],
)
@pytest.mark.parametrize("command", [run_of, locust_of])
def test_a_key_that_cannot_be_used_ends_it(
    command: Callable[..., list[str]], key: str, message: str, tmp_path: Path
) -> None:
    """One line that says why, exit code 2, and nothing is asked."""
    with Asked().answering() as asked:
        done = ran(command(asked, tmp_path / "report", "--key", key), tmp_path)
    assert done.code == 2
    assert message in done.said
    assert KEY[9:] not in done.said
    assert "Traceback" not in done.said
    assert asked.keys == []


def test_a_service_of_its_own_gets_no_key(tmp_path: Path, key_file: str) -> None:
    """It asks for none: an option for it is a mistake."""
    done = ran(["-m", "loadtests", "run", "soak", "--key", key_file], tmp_path)
    assert done.code == 2
    assert "expected --host with it" in done.said
