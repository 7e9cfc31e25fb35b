"""``verifier up`` as its user sees it: started, asked, killed and started again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest

from tests.cli.support import runs, until
from tests.embedded.support import servers_in
from tests.support import require_haproxy, require_tool, variables
from verifier.cli import demo_keys
from verifier.cli.demo import MARK, SEED
from verifier.synthetic import example
from verifier.synthetic.ledger import generate

# `make test PORT=… ROWS=… WORKERS=…` sets them for these tests.
PORT = os.environ.get("PORT", "0")
ROWS = int(os.environ.get("ROWS", "3000"))
WORKERS = os.environ.get("WORKERS", "2")
UP = (sys.executable, "-m", "verifier", "up")


class Up:
    """A running ``verifier up``."""

    def __init__(self, data: Path, rows: int, *more: str) -> None:
        self.data = data
        self.log = data.with_name(f"{data.name}.log")
        self.started = time.monotonic()
        options = {"data": data, "port": PORT, "rows": rows, "workers": WORKERS}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*UP, *(f"--{name}={value}" for name, value in options.items()), *more],
                cwd=Path(__file__).parents[2],
                env=os.environ | variables(auth="on"),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    async def ready(self) -> str:
        """Where it serves, once it does."""
        assert self.process.stdout
        async with asyncio.timeout(60):
            line = await asyncio.to_thread(self.process.stdout.readline)
        assert line.startswith("ready http://127.0.0.1:"), self.log.read_text()
        return line.split()[1]

    def family(self) -> dict[int, list[str]]:
        """All processes under it, with their arguments."""
        parents: dict[int, list[int]] = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents.setdefault(parent, []).append(int(entry.name))
        found, waiting = {}, [self.process.pid]
        while waiting:
            for pid in parents.get(waiting.pop(), []):
                waiting.append(pid)
                try:
                    command = Path(f"/proc/{pid}/cmdline").read_text()
                except (FileNotFoundError, ProcessLookupError):
                    continue  # it has ended meanwhile
                found[pid] = command.split("\0")
        return found

    def workers(self) -> list[int]:
        """The worker processes."""
        return [pid for pid, command in self.family().items() if "verifier.cli.worker" in command]

    def postmaster(self, name: str) -> int:
        """The process that serves a database; 0 when there is none."""
        for pid, command in self.family().items():
            with suppress(OSError):
                served = os.readlink(f"/proc/{pid}/cwd")
                if "-D" in command and served == str(self.data.resolve() / name):
                    return pid
        return 0

    def kill(self, name: str) -> int:
        """Kill the process that serves a database, and it alone."""
        pid = self.postmaster(name)
        assert pid
        os.kill(pid, signal.SIGKILL)
        return pid

    async def end(self, signum: int, within: float) -> int:
        """Signal it; its exit code, once it and everything under it has ended."""
        family = [self.process.pid, *self.family()]
        self.process.send_signal(signum)
        async with asyncio.timeout(within):
            code = await asyncio.to_thread(self.process.wait)
            await until(lambda: not [pid for pid in family if runs(pid)], within)
        return code


@contextmanager
def up(data: Path, rows: int = ROWS, *more: str) -> Iterator[Up]:
    """Start it; whatever the test did, nothing of it runs afterwards."""
    service = Up(data, rows, *more)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.process.terminate()
            service.process.wait()
        assert service.process.stdout
        service.process.stdout.close()


def key(data: Path, file: str) -> dict[str, str]:
    """The header with one of the demo's keys."""
    return {"Authorization": f"Bearer {(data / file).read_text().strip()}"}


def asking(data: Path) -> aiohttp.ClientSession:
    """A client that may ask."""
    return aiohttp.ClientSession(headers=key(data, demo_keys.ASK))


async def ask_all(url: str, data: Path, rows: int = ROWS) -> dict[str, int]:
    """Ask about each invoice of the demo ledger: how many of each verdict."""
    until_day = date.fromisoformat(json.loads((data / MARK).read_text())["until"])
    asked = ("code", "number", "date", "amount", "total", "check_code")
    questions = []
    for line in (*generate(rows, SEED, until_day), example.LINE):
        invoice = json.loads(line)
        questions.append(json.dumps({name: invoice[name] for name in asked if invoice[name]}))
    body = BytesIO("\n".join(questions).encode())
    async with (
        asking(data) as session,
        session.post(f"{url}/v1/verify/stream", data=body) as response,
    ):
        *_, last = [json.loads(line) async for line in response.content]
    assert last["complete"] is True
    summary = last["summary"]
    del summary["matches"]
    return {verdict: count for verdict, count in summary.items() if count}


async def verdict(url: str, data: Path) -> str:
    """The answer to the example's question, over a connection of its own."""
    async with (
        asking(data) as session,
        session.post(f"{url}/v1/verify", data=example.QUESTION) as response,
    ):
        return str((await response.json(content_type=None))["verdict"])


async def feed(url: str, data: Path, number: str, within: float = 10.0) -> str:
    """Feed the example with another number until it is taken; the answer to a question after it."""
    line = example.LINE.replace(b"26119000000012345678", number.encode())
    question = example.QUESTION.replace("26119000000012345678", number)
    ndjson, feeder = {"Content-Type": "application/x-ndjson"}, key(data, demo_keys.FEED)
    ledger = f"{url}/v1/ledger/invoices"
    async with asking(data) as session, asyncio.timeout(within):
        while True:
            async with session.post(ledger, data=line, headers=ndjson | feeder) as response:
                fed = await response.json(content_type=None)
            if response.status == 200:
                break
            assert (response.status, fed["code"]) == (503, "unavailable")
            await asyncio.sleep(0.05)
        assert fed["accepted"] == 1
        token = {"Consistency-Token": fed["token"], "Request-Timeout": "5000"}
        async with session.post(f"{url}/v1/verify", data=question, headers=token) as response:
            return str((await response.json(content_type=None))["verdict"])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data directory for the life of a service over several starts."""
    return tmp_path_factory.mktemp("up") / "data"


async def test_first_start(data: Path) -> None:
    """The first start ends in one ready line and a curl that matches; SIGTERM ends everything."""
    require_tool("curl")
    with up(data) as service:
        url = await service.ready()
        printed = service.log.read_text().partition("try: ")[2].splitlines()[0]
        assert printed == example.curl(url, data / demo_keys.ASK)
        answer = await asyncio.to_thread(subprocess.check_output, printed, shell=True)
        assert json.loads(answer)["verdict"] == "match"
        assert await ask_all(url, data) == {"match": ROWS + 1}
        assert await service.end(signal.SIGTERM, within=20) == 0
        assert service.process.stdout
        assert service.process.stdout.read() == ""


async def test_second_start_is_quick_and_survives_kills(data: Path) -> None:
    """The next start finds its ledger within 10 s; a killed worker is replaced, answers go on."""
    with up(data, ROWS + 5) as service:
        url = await service.ready()
        assert time.monotonic() - service.started < 10
        log = service.log.read_text()
        assert "importing" not in log
        assert f"holds {ROWS:,} invoices" in log
        before = service.workers()
        assert len(before) == int(WORKERS)
        victim = before[0]
        os.kill(victim, signal.SIGKILL)
        await until(
            lambda: len(service.workers()) == len(before) and victim not in service.workers()
        )
        if len(before) > 1:
            assert await verdict(url, service.data) == "match"
        assert await ask_all(url, data) == {"match": ROWS + 1}
        # As the power switch would: nobody is told.
        assert await service.end(signal.SIGKILL, within=10) == -signal.SIGKILL


async def test_behind_a_balancer(data: Path) -> None:
    """HAProxy has the port, and workers theirs; a killed worker is noticed by nobody."""
    require_haproxy()
    with up(data, ROWS, "--balancer") as service:
        url = await service.ready()
        assert await ask_all(url, data) == {"match": ROWS + 1}
        os.kill(service.workers()[0], signal.SIGKILL)
        for _ in range(50):
            assert await verdict(url, service.data) == "match"
        async with aiohttp.ClientSession() as session, session.get(f"{url}/balancerz") as response:
            assert response.status == 200
        async with asking(service.data) as session:
            lines = asyncio.Event()

            async def stream() -> AsyncIterator[bytes]:
                """Go on for as long as the service does."""
                yield example.QUESTION.encode() + b"\n"
                await lines.wait()

            async with session.post(f"{url}/v1/verify/stream", data=stream()) as response:
                assert json.loads(await response.content.readline())["verdict"] == "match"
                service.process.send_signal(signal.SIGTERM)
                last = json.loads(await response.content.readline())
                assert (last["complete"], last["reason"]) == (False, "closing")
                lines.set()
            assert await asyncio.to_thread(service.process.wait) == 0
            # Neither HAProxy nor a worker was at the end of somebody's patience.
            log = service.log.read_text()
            assert "hard-stop" not in log
            assert "worker killed" not in log


async def test_killed_servers_are_started_again(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replicas answer while the primary recovers, and each other's questions; feeds are taken."""
    # On a busy machine a recovery may take longer than the default.
    monkeypatch.setenv("VERIFIER_MAX_STALENESS", "20")
    with up(data) as service:
        url = await service.ready()
        service.kill("primary")
        # Nobody has asked before, so memory does not know it.
        assert await verdict(url, service.data) == "match"
        assert await feed(url, service.data, "26119000000012345001") == "match"
        killed = service.kill("replica-1")
        assert await ask_all(url, data) == {"match": ROWS + 1}
        assert await feed(url, service.data, "26119000000012345002") == "match"
        await until(lambda: service.postmaster("replica-1") not in {0, killed})
        assert await service.end(signal.SIGTERM, within=20) == 0
        assert servers_in(data) == []


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
async def test_end_while_a_server_is_started_again(data: Path, signum: int) -> None:
    """The new server ends with everything else, whether it is told to or not."""
    with up(data) as service:
        await service.ready()
        killed = service.kill("primary")
        await until(lambda: service.postmaster("primary") not in {0, killed})
        code = await service.end(signum, within=20)
        assert code == (0 if signum == signal.SIGTERM else -signum)
        await until(lambda: not servers_in(data))


async def test_start_after_a_crash(data: Path) -> None:
    """After SIGKILL of everything's parent, the next start serves the whole ledger; Ctrl-C ends."""
    with up(data) as service:
        assert await ask_all(await service.ready(), data) == {"match": ROWS + 1}
        assert await service.end(signal.SIGINT, within=20) == 0


async def test_interrupted_import_is_made_whole(tmp_path: Path) -> None:
    """A first start that is killed while it imports leaves a ledger that the next one completes."""
    rows = 20_000
    with up(tmp_path / "data", rows) as service:
        await until(lambda: "importing" in service.log.read_text(), within=30)
        await service.end(signal.SIGKILL, within=10)
    with up(tmp_path / "data", rows) as service:
        url = await service.ready()
        assert "importing" in service.log.read_text()
        assert await ask_all(url, tmp_path / "data", rows) == {"match": rows + 1}


async def test_directory_in_use(data: Path) -> None:
    """A second start on the same directory says who uses it and exits with 2; the first goes on."""
    with up(data) as service:
        url = await service.ready()
        second = await asyncio.to_thread(
            subprocess.run,
            [*UP, "--data", str(data), "--port", "0"],
            env=os.environ | variables(),
            capture_output=True,
            text=True,
        )
        assert second.returncode == 2
        assert f"in use by process {service.process.pid}" in second.stderr
        assert "Traceback" not in second.stderr
        third = await asyncio.to_thread(
            subprocess.run,
            [*UP, "--port", url.rpartition(":")[2]],
            env=os.environ | variables(),
            capture_output=True,
            text=True,
        )
        assert third.returncode == 2
        assert "in use" in third.stderr
        assert await verdict(url, service.data) == "match"
