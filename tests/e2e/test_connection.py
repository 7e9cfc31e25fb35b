"""How requests arrive: in pieces of any size, stopped and going on, together and broken off."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from tests.e2e import raw
from tests.e2e.process import Process, started

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEAD = "POST {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
BATCH = b'{"invoices":[%b]}' % raw.QUESTION


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def process() -> AsyncIterator[Process]:
    """A service without a database."""
    async with started({}) as serving:
        yield serving


def chunks(pieces: Iterable[bytes]) -> bytes:
    """Each piece as a chunk."""
    return b"".join([b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces])


def one_by_one(text: bytes) -> bytes:
    """Each byte as a chunk."""
    return chunks(bytes([byte]) for byte in text)


async def responses(reader: asyncio.StreamReader, count: int) -> list[int]:
    """The status of so many responses, within a bound that is below all those of the service."""
    found: list[int] = []
    async with asyncio.timeout(8):
        for _ in range(count):
            head = await reader.readuntil(b"\r\n\r\n")
            found += raw.statuses(head)
            length = head.lower().partition(b"content-length:")[2].split()
            await reader.readexactly(int(length[0]) if length else 0)
    return found


@asynccontextmanager
async def stopped(process: Process) -> AsyncIterator[None]:
    """The service does not run, so that what is sent meanwhile is there at once afterwards."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
        # The kernel takes it in without the service.
        await asyncio.sleep(0.3)
    finally:
        os.kill(process.pid, signal.SIGCONT)


# aiohttp pauses reading for so many chunks that nobody has taken.
@pytest.mark.parametrize("count", [16_383, 16_384, 16_385, 40_000])
async def test_after_a_body_of_many_chunks_the_next_request_is_answered(
    process: Process, count: int
) -> None:
    """What the parser was told to keep comes out when it is wanted."""
    body = raw.QUESTION + b" " * (count - len(raw.QUESTION))
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    writer.write(HEAD.format("/v1/verify").encode() + one_by_one(body) + b"0\r\n\r\n")
    assert await responses(reader, 1) == [422]
    writer.write(raw.request("/v1/verify", raw.QUESTION))
    assert await responses(reader, 1) == [422]
    writer.close()


@pytest.mark.parametrize("count", [16_383, 16_384, 16_385])
@pytest.mark.parametrize(
    ("path", "body"), [("/v1/verify/batch", BATCH), ("/v1/verify/stream", raw.QUESTION)]
)
async def test_a_body_goes_on_after_many_chunks_at_once(
    process: Process, path: str, body: bytes, count: int
) -> None:
    """Those that come while the handler waits are followed by the rest."""
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    writer.write(HEAD.format(path).encode() + one_by_one(b" "))
    await raw.becomes(process.port, "verifier_connections", 2)
    async with stopped(process):
        writer.write(one_by_one(b" " * count))
    writer.write(chunks([body]) + b"0\r\n\r\n")
    async with asyncio.timeout(8):
        assert b'"invalid":1' in await reader.readuntil(b'"invalid":1')
    writer.close()


async def test_b14_a_bad_chunk_behind_a_full_read_is_refused(process: Process) -> None:
    """It is so as well when it is read before anything of its request was looked at."""
    large = raw.request("/v1/verify/batch", BATCH + b" " * 6_000_000)
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    # With these the kernel gets to keep so much for the connection.
    for _ in range(2):
        writer.write(large)
        assert await responses(reader, 1) == [200]
    async with stopped(process):
        head = HEAD.format("/v1/verify/batch").encode()
        writer.write(head + chunks([b" " * 257_000]) + b"zz\r\n")
    assert await responses(reader, 1) == [400]
    writer.close()


async def test_c18_a_head_that_begins_with_its_connection_has_to_come_in_time() -> None:
    """Whoever is quick to begin has no more time than others."""
    begun = b"POST /v1/verify HTTP/1.1\r\nHost: x\r\n"
    loop = asyncio.get_running_loop()
    async with started({"header_timeout": 1.0}) as serving:
        clients: list[socket.socket] = []
        for _ in range(40):
            client = socket.create_connection(("127.0.0.1", serving.port))
            client.sendall(begun)
            client.setblocking(False)
            clients.append(client)
        async with asyncio.timeout(8):
            for client in clients:
                assert raw.statuses(await loop.sock_recv(client, 4_096)) == [408]
                client.close()


async def test_c18_a_head_behind_requests_that_run_is_bounded() -> None:
    """However long those in front of it take, it may not be larger than others."""
    loop = asyncio.get_running_loop()
    async with started({"max_head": 4_096, "max_header": 4_096, "write_idle": 60.0}) as serving:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", serving.port))
            await loop.sock_sendall(client, raw.LARGE + b"GET /livez HTTP/1.1\r\nHost: x\r\n")
            await raw.becomes(serving.port, "verifier_unread_answers", 1)
            before = serving.resident()
            sending = loop.sock_sendall(client, (b"A: " + b"x" * 1_000 + b"\r\n") * 20_000)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(sending, 2)
            assert serving.resident() - before < 8 << 20


@pytest.mark.parametrize(
    "head",
    [
        b"POST /nope HTTP/1.1\r\nHost: x\r\n",
        b"POST /v1/verify/batch HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n",
        b"POST /v1/ledger/invoices HTTP/1.1\r\nHost: x\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n",
    ],
    ids=["nowhere", "compressed", "media type", "a body to GET"],
)
async def test_b14_a_refused_body_that_is_cut_off_is_not_waited_for(
    process: Process, head: bytes
) -> None:
    """Its client gets the answer and the end of the connection."""
    for _ in range(10):
        async with asyncio.timeout(5):
            answer = await raw.said(
                process.port, head + b"Content-Length: 1000\r\n\r\nabc", shutdown=True
            )
        assert len(raw.statuses(answer)) == 1


@pytest.mark.parametrize("half_closed", [False, True], ids=["open", "half-closed"])
@pytest.mark.parametrize("late", [0, 1, 3])
@pytest.mark.parametrize("burst", [31, 32, 40, 300])
async def test_each_of_many_requests_at_once_is_answered(
    process: Process, late: int, burst: int, half_closed: bool
) -> None:
    """Also behind requests whose bodies came after their heads, which aiohttp counts twice."""
    request = raw.request("/v1/verify", raw.QUESTION)
    head, _, body = request.partition(b"\r\n\r\n")
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    for _ in range(late):
        writer.write(head + b"\r\n\r\n")
        await asyncio.sleep(0.01)
        writer.write(body)
        assert await responses(reader, 1) == [422]
    writer.write(request * burst)
    if half_closed:
        writer.write_eof()
    assert await responses(reader, burst) == [422] * burst
    writer.close()
