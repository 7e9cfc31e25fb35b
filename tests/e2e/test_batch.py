"""Large batches: nobody is harmed by who takes the answer slowly, or not at all."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator

import pytest

from tests.e2e.support import CONFORMANCE, NOON, Service, clock_at, running
from tests.support import Database

LINES = (CONFORMANCE / "ledger.ndjson").read_bytes().splitlines()
DIGITAL = next(line for line in map(json.loads, LINES) if line["kind"] == "digital_special")
QUESTION = {name: DIGITAL[name] for name in ("number", "date", "total")}
COUNT = 10_000
BODY = json.dumps({"invoices": [QUESTION] * COUNT}).encode()


@pytest.fixture
async def service(database: Database) -> AsyncIterator[Service]:
    """Serve the conformance ledger at the conformance set's moment."""
    async with running(database, clock_at(NOON)) as service:
        await service.feed(LINES)
        yield service


class Client:
    """A connection that reads only when it is told to, with hardly room for what comes."""

    def __init__(self, service: Service) -> None:
        self._sock = socket.socket()
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self._sock.setblocking(False)
        self._port = int(service.url.rpartition(":")[2])
        self.asked = 0

    async def ask(self, version: str = "1.1", headers: str = "") -> None:
        """Send the batch."""
        loop = asyncio.get_running_loop()
        if not self.asked:
            await loop.sock_connect(self._sock, ("127.0.0.1", self._port))
        head = (
            f"POST /v1/verify/batch HTTP/{version}\r\nHost: x\r\n{headers}"
            f"Content-Length: {len(BODY)}\r\n\r\n"
        )
        await loop.sock_sendall(self._sock, head.encode() + BODY)
        self.asked += 1

    async def read(self) -> None:
        """Read the answer, which has a result for each question."""
        loop = asyncio.get_running_loop()
        received = b""
        while b"\r\n\r\n" not in received:
            received += await loop.sock_recv(self._sock, 1 << 16)
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.partition(b" ")[2].startswith(b"200 OK")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        parts, lacking = [body], length - len(body)
        while lacking > 0:
            parts.append(await loop.sock_recv(self._sock, 1 << 18))
            assert parts[-1], "cut off"
            lacking -= len(parts[-1])
        answer = json.loads(b"".join(parts))
        assert answer["summary"]["match"] == COUNT
        assert [result["index"] for result in answer["results"]] == list(range(COUNT))
        assert len({result["id"] for result in answer["results"]}) == COUNT

    def close(self) -> None:
        """Go, whatever has not been read."""
        self._sock.close()


def answered(batches: int) -> str:
    """What the metrics show once so many batches have been answered, read or not."""
    return f'verifier_answers_total{{endpoint="batch",verdict="match"}} {batches * COUNT}.0'


async def test_an_answer_waits_for_its_reader(service: Service) -> None:
    """It comes whole however late, others are served meanwhile, and the connection goes on."""
    client = Client(service)
    for batches in (1, 2):
        await client.ask()
        await service.shows(answered(batches))
        assert (await service.ask(QUESTION))[1]["verdict"] == "match"
        await client.read()
    client.close()


async def test_a_reader_who_goes_is_no_harm(service: Service) -> None:
    """What nobody reads any more is dropped; the next batch is answered."""
    for batches in (1, 2, 3):
        client = Client(service)
        await client.ask()
        await service.shows(answered(batches))
        client.close()
    client = Client(service)
    await client.ask()
    await client.read()
    client.close()


@pytest.mark.parametrize(("version", "headers"), [("1.0", ""), ("1.1", "Connection: close\r\n")])
async def test_a_connection_that_is_not_kept(service: Service, version: str, headers: str) -> None:
    """A batch is answered whole on a connection that ends with it, too."""
    client = Client(service)
    await client.ask(version, headers)
    await client.read()
    client.close()
