"""C15 and C18: who does not read answers, or sends slowly, holds up only himself."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from tests.e2e.support import CONFORMANCE, NOON, Service, clock_at, running
from tests.support import Database

LINES = (CONFORMANCE / "ledger.ndjson").read_bytes().splitlines()
DIGITAL = next(line for line in map(json.loads, LINES) if line["kind"] == "digital_special")
QUESTION = {name: DIGITAL[name] for name in ("number", "date", "total")}
SMALL = json.dumps({"invoices": [QUESTION]}).encode()
LARGE = json.dumps({"invoices": [QUESTION] * 10_000}).encode()
NO_BATCH = 'verifier_requests_in_progress{endpoint="batch"} 0.0'


@asynccontextmanager
async def serving(database: Database, **settings: Any) -> AsyncIterator[Service]:
    """The conformance ledger, served with bounds of the test's own."""
    async with running(database, clock_at(NOON), **settings) as service:
        await service.feed(LINES)
        yield service


class Connection:
    """A raw connection with hardly room for what it does not read."""

    def __init__(self) -> None:
        self._sock = socket.socket()
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self._sock.setblocking(False)

    async def send(self, service: Service, data: bytes) -> None:
        """Connect and send."""
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._sock, ("127.0.0.1", int(service.url.rpartition(":")[2])))
        await loop.sock_sendall(self._sock, data)

    async def is_cut(self) -> None:
        """Return when the server has ended the connection; what arrives is read."""
        async with asyncio.timeout(10):
            try:
                while await asyncio.get_running_loop().sock_recv(self._sock, 1 << 18):
                    pass
            except ConnectionResetError:
                pass

    def close(self) -> None:
        """Go."""
        self._sock.close()


def post(path: str, body: bytes, lacking: int = 0, media: str = "application/json") -> bytes:
    """A request as raw bytes, of whose body so many are announced and not sent."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {media}\r\n"
        f"Content-Length: {len(body) + lacking}\r\n\r\n"
    ).encode() + body


def cut(route: str, connections: int = 1) -> str:
    """The metric of so many connections that were cut off."""
    return f'verifier_http_errors_total{{code="slow_reader",route="{route}"}} {connections}.0'


async def small_batch(service: Service) -> int:
    """The status of a batch of one."""
    async with service.session.post(f"{service.url}/v1/verify/batch", data=SMALL) as response:
        return response.status


async def test_c15_an_unread_batch_holds_its_slot_and_is_cut_off(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Beyond max_batches unread answers a batch is 503; after write_idle they are gone."""
    async with serving(database, max_batches=2, write_idle=2.0) as service:
        unread = [Connection(), Connection()]
        for each in unread:
            await each.send(service, post("/v1/verify/batch", LARGE))
        await service.shows('verifier_answers_total{endpoint="batch",verdict="match"} 20000.0')
        assert await small_batch(service) == 503
        assert (await service.ask(QUESTION))[1]["verdict"] == "match"
        await service.shows(cut("batch", 2))
        await service.shows(NO_BATCH)
        assert await small_batch(service) == 200
        for each in unread:
            await each.is_cut()
            each.close()
    assert not [record for record in caplog.records if record.name.startswith("aiohttp")]


async def test_c15_a_client_that_goes_frees_its_slot(database: Database) -> None:
    """A connection that is dropped with its answer unread gives the slot back at once."""
    async with serving(database, max_batches=1) as service:
        unread = Connection()
        await unread.send(service, post("/v1/verify/batch", LARGE))
        await service.shows('verifier_answers_total{endpoint="batch",verdict="match"} 10000.0')
        unread.close()
        await service.shows(NO_BATCH)
        await service.shows('verifier_http_errors_total{code="client_gone",route="batch"} 1.0')
        assert await small_batch(service) == 200


@pytest.mark.parametrize(
    ("route", "data"),
    [
        ("verify", post("/v1/verify", json.dumps(QUESTION).encode())),
        ("verify", post("/v1/verify", b"{}")),
        ("batch", post("/v1/verify/batch", b"{}")),
        ("metrics", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("openapi", b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("elsewhere", b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"),
        (
            "invoices",
            post("/v1/ledger/invoices", b"{}\n" * 1_000, media="application/x-ndjson"),
        ),
    ],
)
async def test_c15_whoever_pipelines_and_never_reads_is_cut_off(
    database: Database, route: str, data: bytes
) -> None:
    """Answers of every kind have the same bound: the connection is cut and counted."""
    async with serving(database, write_idle=0.5) as service:
        connection = Connection()

        async def flood() -> None:
            with suppress(ConnectionError):
                await connection.send(service, data * 20_000)

        sending = asyncio.create_task(flood())
        await service.shows(cut(route))
        await sending
        connection.close()


async def test_c15_a_slow_but_steady_reader_gets_all(database: Database) -> None:
    """The bound is on each buffer, not on the answer: a longer reading is not cut."""
    async with serving(database, write_idle=0.5, write_buffer=65_536) as service:
        url = f"{service.url}/v1/verify/batch"
        loop = asyncio.get_running_loop()
        begin = loop.time()
        async with service.session.post(url, data=LARGE) as response:
            received = b""
            async for block in response.content.iter_chunked(1 << 17):
                received += block
                await asyncio.sleep(0.02)
        assert loop.time() - begin > 0.5
        assert json.loads(received)["summary"]["match"] == 10_000


async def test_c18_trickled_bodies_take_no_slot(database: Database) -> None:
    """As many trickled batches as there are slots, and more, leave the slots to others."""
    async with serving(database, max_batches=2) as service:
        trickled = [Connection() for _ in range(32)]
        for each in trickled:
            await each.send(service, post("/v1/verify/batch", SMALL[:10], lacking=1_000))
        assert await small_batch(service) == 200
        for each in trickled:
            each.close()


async def test_c18_bodies_that_are_coming_are_bounded_in_all(database: Database) -> None:
    """What exceeds max_receiving is refused with 503; singles and whole small bodies go on."""
    async with serving(database, max_receiving=1_000_000, max_batch_body=850_000) as service:
        trickled = [Connection() for _ in range(3)]
        for each in trickled:
            await each.send(service, post("/v1/verify/batch", b" " * 400_000, lacking=10))
        await service.shows('verifier_http_errors_total{code="unavailable",route="batch"} 1.0')
        assert (await service.ask(QUESTION))[1]["verdict"] == "match"
        assert await small_batch(service) == 200
        for each in trickled:
            each.close()
        # What they held is free again.
        async with service.session.post(
            f"{service.url}/v1/verify/batch", data=SMALL + b" " * 800_000
        ) as response:
            assert response.status == 200
