"""Requests that two readers may take for different ones, through HAProxy.

Between HAProxy and a worker stands a relay that keeps what passes. What HAProxy passes on must be
framed so plainly that nobody can read it in two ways; then whoever comes next on a connection that
many clients share cannot be given somebody else's answer.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from tests.api.smuggling import BODY, CORPUS
from tests.fuzz.inputs import make
from tests.fuzz.plainly import Framed, answers, requests
from tests.support import require_haproxy
from verifier.app.service import Service
from verifier.cli.balancer import Balancer
from verifier.cli.ports import Reservation
from verifier.config import Config

pytestmark = pytest.mark.asyncio(loop_scope="module")

# In seconds; HAProxy gives a head that does not end 10.
PATIENCE = 20.0

_LINE = b"POST /v1/verify HTTP/1.1\r\nHost: x\r\n"
_LENGTH = b"Content-Length: %d\r\n\r\n" % len(BODY)
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

# What would put a field of an attacker's into somebody's head, were it copied somewhere.
INJECTIONS = {
    "an encoded line in the path": b"GET /%0d%0aX-Injected:%201 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a carriage return in the path": b"GET /\rX-Injected: 1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a line in a region": b"PUT /v1/ledger/regions/%0d%0aX-Injected:1/watermark HTTP/1.1\r\n"
    b"Host: x\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n",
    "a carriage return in a field": _LINE + b"X: y\rX-Injected: 1\r\n" + _LENGTH + BODY,
    "a line feed in a field": _LINE + b"X: y\nX-Injected: 1\r\n" + _LENGTH + BODY,
    "a null byte in a field": _LINE + b"X: y\0X-Injected: 1\r\n" + _LENGTH + BODY,
    "a folded field": _LINE + b"X: y\r\n X-Injected: 1\r\n" + _LENGTH + BODY,
    "a media type with a line": b"POST /v1/ledger/invoices HTTP/1.1\r\nHost: x\r\n"
    b"Content-Type: a/b\rX-Injected: 1\r\n" + _LENGTH + BODY,
    "an id of one's own": _LINE + b"X-Request-Id: injected\r\n" + _LENGTH + BODY,
    "a host that is none": _LINE.replace(b"Host: x", b"Host: x\tX-Injected: 1") + _LENGTH + BODY,
    "an absolute address": b"POST http://y/v1/verify HTTP/1.1\r\nHost: x\r\n" + _LENGTH + BODY,
}

_NUMBERS = iter(range(1_000_000))


def victim(reference: str) -> bytes:
    """A question whose answer names it."""
    body = b'{"number":"12","reference":"%b"}' % reference.encode()
    return _LINE + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


class Passed:
    """What passed on one connection to the worker, in both directions."""

    def __init__(self) -> None:
        self.asked = bytearray()
        self.answered = bytearray()


class Relay:
    """Passes on bytes to a worker's port, and keeps them; answers HAProxy's checks itself."""

    def __init__(self, port: int) -> None:
        self.passed: list[Passed] = []
        self._port = port

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        with suppress(ConnectionError):
            first = await reader.read(65_536)
            if first.startswith(b"GET /readyz HTTP/1.0\r\n"):
                writer.write(_OK)
            elif first:
                await self._pass(first, reader, writer)
        writer.close()

    async def _pass(
        self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        kept = Passed()
        self.passed.append(kept)
        kept.asked += first
        back, forth = await asyncio.open_connection("127.0.0.1", self._port)
        forth.write(first)
        await asyncio.gather(_pump(reader, forth, kept.asked), _pump(back, writer, kept.answered))

    def taken(self) -> tuple[list[Framed], list[bytes]]:
        """All requests that passed and bodies of answers, once; AssertionError if it is unclear.

        Connections are told one after another.
        """
        passed = [(bytes(each.asked), bytes(each.answered)) for each in self.passed]
        for each in self.passed:
            each.asked.clear()
            each.answered.clear()
        asked = [request for sent, _ in passed for request in requests(sent)]
        told = [body for _, said in passed for body in answers(said)]
        return asked, told


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray
) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            kept += data
            writer.write(data)
    writer.close()


class Front:
    """A worker behind a relay behind HAProxy."""

    def __init__(self, port: int, relay: Relay) -> None:
        self.port = port
        self.relay = relay

    async def said(self, data: bytes) -> bytes:
        """What is answered until the end to who sends this and half-closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            writer.write_eof()
            async with asyncio.timeout(PATIENCE):
                return await reader.read()
        finally:
            writer.close()

    async def asked(self, references: list[str]) -> list[bytes]:
        """The references of the answers to questions with these, which wait for each other."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        said = b""
        try:
            async with asyncio.timeout(PATIENCE):
                for count, reference in enumerate(references, 1):
                    writer.write(victim(reference))
                    while said.count(b"}]") < count and (data := await reader.read(65_536)):
                        said += data
        finally:
            writer.close()
        return re.findall(rb'"reference":"([^"]*)"', said)


@pytest.fixture(scope="module")
def installed() -> Iterator[None]:
    """Without HAProxy there is nothing to test."""
    require_haproxy()
    return iter((None,))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(installed: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    """Run all three; a database is not needed to refuse questions."""
    config = Config.of(
        primary_dsn="postgresql://127.0.0.1:1/nowhere",
        expose_ledger="on",
        auth="off",
        drain_accept=0,
    )
    folder: Path = tmp_path_factory.mktemp("balancer")
    async with Service(config).serving("127.0.0.1", 0) as url:
        relay = Relay(int(url.rpartition(":")[2]))
        server = await asyncio.start_server(relay.talk, "127.0.0.1", 0)
        at = "{}:{}".format(*server.sockets[0].getsockname())
        with Reservation("127.0.0.1", 0) as address, Reservation("127.0.0.1", 0) as statistics:
            balancer = Balancer(address.listener(), f"127.0.0.1:{statistics.port}", [at], folder)
            async with balancer.serving(asyncio.Event(), lambda: 0.0):
                yield Front(address.port, relay)
        server.close()


async def attacked(front: Front, sent: bytes) -> bytes:
    """What an attacker is told; AssertionError when the attack means anything to anybody else."""
    mark = f"victim-{next(_NUMBERS)}"
    told = await front.said(sent)
    # Twice: HAProxy sends the first request of a client on a connection of its own.
    references = [f"{mark}-1", f"{mark}-2"]
    assert await front.asked(references) == [each.encode() for each in references]
    asked, answered = front.relay.taken()
    # Each answer was told, and each request answered, once at most; other words are HAProxy's own.
    bodies = Counter(answers(told))
    victims = [body for body in answered if mark.encode() in body]
    rest = Counter(answered) - Counter(victims)
    assert len(victims) == 2
    # HAProxy may have a word of its own for a request that is cut off.
    cut = sum(1 for request in asked if request.body is None)
    assert (rest - bodies).total() <= cut
    assert [body for body in bodies - rest if b"<html>" not in body] == []
    assert len(answered) <= len(asked)
    return told


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.parametrize("behind", [False, True], ids=["alone", "with a request behind it"])
async def test_nobody_gets_another_s_answer(front: Front, name: str, behind: bool) -> None:
    """What passes can be read in one way only, whoever comes next gets the answer that is his."""
    sent = CORPUS[name]
    told = await attacked(front, sent + victim("own") if behind else sent)
    assert told.count(b'"reference":"own"') <= 1


@pytest.mark.parametrize("name", INJECTIONS)
async def test_no_field_is_injected(front: Front, name: str) -> None:
    """Neither into what the worker gets nor into what the client does."""
    told = await attacked(front, INJECTIONS[name])
    heads = b"".join(re.findall(rb"^HTTP/1.*?\r\n\r\n", told, re.DOTALL | re.MULTILINE))
    assert b"injected" not in heads.lower()


async def test_odd_bytes_are_passed_on_plainly_or_not_at_all(front: Front) -> None:
    """The same for inputs of the fuzzer that may mean anything."""
    odd = (each for number in range(3_000) if (each := make(2, number)).sort == "raw")
    for _ in range(100):
        sent = b"".join(next(odd).pieces)
        if b"HEAD" not in sent:
            await attacked(front, sent)
