"""The balancer's configuration, and HAProxy on a socket of ours."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from tests.cli.support import runs, until
from tests.support import require_haproxy
from verifier.cli import balancer
from verifier.cli.balancer import Balancer, configuration, program
from verifier.cli.ports import Reservation
from verifier.errors import ConfigError

ROOT = Path(__file__).parents[2]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
NOT_READY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
def installed() -> None:
    """Without HAProxy there is nothing to test."""
    require_haproxy()


class Worker:
    """Answers every request with 200, once it is let; counts them, and those under way at once."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.asked: list[str] = []
        self.most = self.under_way = 0
        self.ready = True
        # Requests whose connection ends without an answer.
        self.cut = 0
        self._writers: set[asyncio.StreamWriter] = set()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        self._writers.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head.decode(), reader, writer)
        writer.close()

    async def close(self) -> None:
        """Close all connections."""
        for writer in self._writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        length = head.lower().partition("content-length: ")[2].partition("\r\n")[0]
        await reader.readexactly(int(length or 0))
        path = head.split()[1]
        if path == "/readyz":
            writer.write(OK if self.ready else NOT_READY)
            return
        self.asked.append(path)
        if self.cut:
            self.cut -= 1
            raise ConnectionResetError
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.open.wait()
        self.under_way -= 1
        writer.write(OK)


class Rig:
    """A balancer before workers of ours."""

    def __init__(self, before: Balancer, url: str, workers: list[Worker]) -> None:
        self.balancer = before
        self.url = url
        self.address = URL(url).host, URL(url).port
        self.workers = workers

    async def post(
        self, session: aiohttp.ClientSession, path: str
    ) -> tuple[int, str, Mapping[str, str]]:
        """Status, body and headers of an answer."""
        async with session.post(f"{self.url}{path}", data=b"{}") as response:
            return response.status, await response.text(), response.headers


@asynccontextmanager
async def balanced(folder: Path, count: int = 1) -> AsyncIterator[Rig]:
    """Run it while the block does."""
    workers = [Worker() for _ in range(count)]
    servers = [await asyncio.start_server(each.talk, "127.0.0.1", 0) for each in workers]
    at = ["{}:{}".format(*server.sockets[0].getsockname()) for server in servers]
    with Reservation("127.0.0.1", 0) as address, Reservation("127.0.0.1", 0) as statistics:
        before = Balancer(address.listener(), f"127.0.0.1:{statistics.port}", at, folder)
        async with before.serving(asyncio.Event(), lambda: 0.0):
            yield Rig(before, address.url, workers)
    for worker, server in zip(workers, servers, strict=True):
        server.close()
        await worker.close()


def check_refusal(
    status: int, text: str, headers: Mapping[str, str], reason: str = "overloaded"
) -> None:
    """It is the worker's document, with a time to come again that is its Retry-After too."""
    said = json.loads(text)
    assert (status, said["code"], said["reason"]) == (503, "unavailable", reason)
    assert headers["Retry-After"] == str(said["retry_after"]) in ("1", "2", "3")
    assert headers["Content-Type"] == "application/problem+json"


def test_the_configuration_that_is_shipped_is_this_one() -> None:
    """deploy/haproxy/haproxy.cfg is what the module prints."""
    printed = subprocess.check_output(
        [sys.executable, "-m", "verifier.cli.balancer"], cwd=ROOT, text=True
    )
    assert (ROOT / "deploy/haproxy/haproxy.cfg").read_text("utf-8") == printed


@pytest.mark.usefixtures("installed")
def test_haproxy_takes_the_configuration(tmp_path: Path) -> None:
    """Without a warning."""
    file = tmp_path / "haproxy.cfg"
    file.write_text(configuration("127.0.0.1:8080", "127.0.0.1:1", ["127.0.0.1:2"], 100), "utf-8")
    done = subprocess.run(
        [program(), "-c", "-f", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


@pytest.mark.usefixtures("installed")
async def test_who_waits_too_long_is_refused_there(tmp_path: Path) -> None:
    """The others have the worker's places, and are answered."""
    connector = aiohttp.TCPConnector(limit=0)
    async with balanced(tmp_path) as rig, aiohttp.ClientSession(connector=connector) as session:
        (worker,) = rig.workers
        worker.open.clear()
        asking = [
            asyncio.create_task(rig.post(session, "/v1/verify"))
            for _ in range(balancer.SINGLES + 20)
        ]
        refused, others = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        while len(others) > balancer.SINGLES:
            more, others = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
            refused |= more
        assert worker.most == len(others) == balancer.SINGLES
        for task in refused:
            check_refusal(*await task)
        worker.open.set()
        assert {(await task)[0] for task in others} == {200}


@pytest.mark.usefixtures("installed")
async def test_a_queue_that_stands_takes_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A burst may wait; who comes when it has not been short for a while is refused at once."""
    monkeypatch.setattr(balancer, "QUEUE", "60s")
    # Longer than it takes to send the burst.
    monkeypatch.setattr(balancer, "INTERVAL", 2_000)
    connector = aiohttp.TCPConnector(limit=0)
    async with balanced(tmp_path) as rig, aiohttp.ClientSession(connector=connector) as session:
        (worker,) = rig.workers
        # Otherwise nobody knows since when the queue is long.
        assert (await rig.post(session, "/v1/verify"))[0] == 200
        worker.open.clear()
        burst = [
            asyncio.create_task(rig.post(session, "/v1/verify"))
            for _ in range(balancer.SINGLES + 2 * balancer.STANDING)
        ]
        await until(lambda: worker.under_way == balancer.SINGLES)
        # Who comes too early for that waits as well.
        late: set[asyncio.Task[tuple[int, str, Mapping[str, str]]]] = set()
        async with asyncio.timeout(30):
            while not (refused := {task for task in late if task.done()}):
                late.add(asyncio.create_task(rig.post(session, "/v1/verify")))
                await asyncio.wait(late, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
        for task in refused:
            check_refusal(*await task)
        worker.open.set()
        assert {(await task)[0] for task in burst} == {200}
        await asyncio.gather(*late)
        assert (await rig.post(session, "/v1/verify"))[0] == 200


@pytest.mark.usefixtures("installed")
async def test_without_a_worker_that_is_ready(tmp_path: Path) -> None:
    """Nobody is overloaded, and what monitors ask is the worker's to answer."""
    async with balanced(tmp_path) as rig, aiohttp.ClientSession() as session:
        (worker,) = rig.workers
        worker.ready = False
        async with asyncio.timeout(10):
            while (answer := await rig.post(session, "/v1/verify"))[0] == 200:
                pass
        check_refusal(*answer, reason="failed")
        check_refusal(*await rig.post(session, "/v1/verify/batch"), reason="failed")
        for path, status in (("/metrics", 200), ("/livez", 200), ("/readyz", 503)):
            async with session.get(f"{rig.url}{path}") as response:
                assert response.status == status
                assert await response.text() == "{}"


@pytest.mark.usefixtures("installed")
async def test_monitors_are_told_too_when_no_worker_is_there(tmp_path: Path) -> None:
    """By a problem document."""
    async with (
        balanced(tmp_path, 0) as rig,
        aiohttp.ClientSession() as session,
        session.get(f"{rig.url}/metrics") as response,
    ):
        text = await response.text()
        check_refusal(response.status, text, response.headers, reason="failed")


@pytest.mark.usefixtures("installed")
async def test_an_address_has_no_more_than_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next connection from it is closed, until one of the others ends."""
    monkeypatch.setattr(balancer, "UNCOUNTED", "192.0.2.1")
    monkeypatch.setattr(balancer, "EACH", 3)
    async with balanced(tmp_path) as rig, AsyncExitStack() as clients:

        async def admitted() -> asyncio.StreamWriter | None:
            """A connection that got an answer, or nothing when it was closed instead."""
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                reader, writer = await asyncio.open_connection(*rig.address)
                clients.callback(writer.close)
                writer.write(b"GET /balancerz HTTP/1.1\r\nHost: x\r\n\r\n")
                await reader.readuntil(b"\r\n\r\n")
                return writer
            return None

        first, *others = [await admitted() for _ in range(4)]
        assert first is not None
        assert [bool(other) for other in others] == [True, True, False]
        first.close()
        async with asyncio.timeout(10):
            while not await admitted():
                pass


@pytest.mark.usefixtures("installed")
async def test_bulk_leaves_room_for_single_questions(tmp_path: Path) -> None:
    """However many batches wait, a question goes to the worker at once; so do probes."""
    async with balanced(tmp_path) as rig, aiohttp.ClientSession() as session:
        (worker,) = rig.workers
        worker.open.clear()
        bulk = [
            asyncio.create_task(rig.post(session, "/v1/verify/batch"))
            for _ in range(balancer.BULK + 5)
        ]
        await until(lambda: worker.under_way == balancer.BULK)
        asking = asyncio.create_task(rig.post(session, "/v1/verify"))
        await until(lambda: "/v1/verify" in worker.asked)
        async with session.get(f"{rig.url}/readyz") as response:
            assert response.status == 200
        worker.open.set()
        assert (await asking)[0] == 200
        assert {(await task)[0] for task in bulk} == {200}


@pytest.mark.usefixtures("installed")
async def test_paths_are_sorted_as_workers_read_them(tmp_path: Path) -> None:
    """A batch with an encoded path is a batch."""
    async with balanced(tmp_path) as rig, aiohttp.ClientSession() as session:
        (worker,) = rig.workers
        worker.open.clear()
        url = URL(f"{rig.url}/v1/verify/%62atch", encoded=True)
        bulk = [
            asyncio.create_task(session.post(url, data=b"{}")) for _ in range(balancer.BULK + 5)
        ]
        await until(lambda: worker.under_way == balancer.BULK)
        single = asyncio.create_task(rig.post(session, "/v1/verify"))
        await until(lambda: "/v1/verify" in worker.asked)
        assert worker.most == balancer.BULK + 1
        worker.open.set()
        await asyncio.gather(*bulk, single)


@pytest.mark.usefixtures("installed")
async def test_a_worker_that_does_not_answer_is_told_by_a_problem_document(tmp_path: Path) -> None:
    """With HAProxy's status."""
    async with balanced(tmp_path) as rig, aiohttp.ClientSession() as session:
        rig.workers[0].cut = 1
        status, text, headers = await rig.post(session, "/v1/ledger/invoices")
        assert headers["Content-Type"] == "application/problem+json"
        assert (status, json.loads(text)["status"], json.loads(text)["reason"]) == (
            502,
            502,
            "failed",
        )


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("path", "status", "times"), [("/v1/verify", 200, 2), ("/v1/ledger/invoices", 502, 1)]
)
async def test_only_questions_are_sent_twice(
    path: str, status: int, times: int, tmp_path: Path
) -> None:
    """A connection that ends before its answer: a feed may have been committed."""
    async with balanced(tmp_path, 1) as rig, aiohttp.ClientSession() as session:
        (worker,) = rig.workers
        worker.cut = 1
        assert (await rig.post(session, path))[0] == status
        assert worker.asked == [path] * times


@pytest.mark.usefixtures("installed")
async def test_a_balancer_that_ends_is_started_again(tmp_path: Path) -> None:
    """Its port goes on listening meanwhile: who comes waits, and is answered."""
    async with balanced(tmp_path) as rig:
        before = rig.balancer.pid
        os.kill(before, signal.SIGKILL)
        await until(lambda: not runs(before))
        async with aiohttp.ClientSession() as session:
            assert (await rig.post(session, "/v1/verify"))[0] == 200
        assert rig.balancer.pid != before


@pytest.mark.usefixtures("installed")
async def test_a_balancer_that_does_not_start_is_said(tmp_path: Path) -> None:
    """Once, at the start."""
    with Reservation("127.0.0.1", 0) as address, address.listener() as listening:
        before = Balancer(listening, "nonsense:x:y", ["127.0.0.1:1"], tmp_path)
        with pytest.raises(ConfigError, match="does not answer"):
            before.start()


def test_a_machine_without_haproxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(ConfigError, match=r"expected haproxy 2\.6"):
        program()
