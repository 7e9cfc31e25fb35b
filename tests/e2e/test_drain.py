"""Stopping: what has begun is answered, and nothing else is."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.e2e import raw
from tests.e2e.process import started

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def stopped_after(beginning: bytes) -> AsyncIterator[Streams]:
    """A connection over which part of a request has come when the service was told to stop."""
    async with started({}) as process:
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
        writer.write(beginning)
        await raw.becomes(process.port, "verifier_connections", 2)
        os.kill(process.pid, signal.SIGTERM)
        async with asyncio.timeout(5):
            while not _is_refused(process.port):
                await asyncio.sleep(0.05)
            yield reader, writer
        writer.close()


def _is_refused(port: int) -> bool:
    """Whether nobody listens any more."""
    with socket.socket() as client:
        # Neither accepted nor refused is who was waiting to be accepted.
        return client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


async def test_requests_are_taken_until_balancers_have_noticed() -> None:
    """On new connections and on those that were idle; each answer is its connection's last."""
    question = raw.request("/v1/verify", raw.QUESTION)
    async with started({"drain_accept": 60}) as process:
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
        writer.write(question)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"connection: close" not in head.lower()
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
        os.kill(process.pid, signal.SIGTERM)
        async with asyncio.timeout(5):
            # The first one may still come before the signal.
            while b'"draining"' not in await raw.said(
                process.port, raw.request("/readyz", b"", "Connection: close", method="GET")
            ):
                pass
        writer.write(question)
        said = [await reader.read(), await raw.said(process.port, question)]
        for answer in said:
            assert raw.statuses(answer) == [422]
            assert b"\r\nconnection: close\r\n" in answer.lower()
        writer.close()
        # It waits for nobody when it is told again.
        os.kill(process.pid, signal.SIGTERM)
        async with asyncio.timeout(5):
            await process.handle.wait()


async def test_nothing_is_lost_of_those_who_go_on_asking() -> None:
    """Clients that open a connection for each request, and clients that keep theirs."""
    question = raw.request("/v1/verify", raw.QUESTION)
    async with started({"drain_accept": 1}) as process:
        answers = 0

        async def keeps() -> None:
            """Ask on a connection until told that it is the last answer."""
            nonlocal answers
            reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
            is_last = False
            while not is_last:
                writer.write(question)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.partition(b"content-length:")[2].split()[0]))
                is_last = b"connection: close" in head
                answers += 1
            writer.close()

        asking = [asyncio.create_task(keeps()) for _ in range(10)]
        while answers < 100:
            await asyncio.sleep(0.01)
        os.kill(process.pid, signal.SIGTERM)
        async with asyncio.timeout(10):
            await asyncio.gather(*asking)


REQUESTS = {
    "single": (raw.request("/v1/verify", raw.QUESTION), 422),
    "batch": (raw.request("/v1/verify/batch", b'{"invoices":[%b]}' % raw.QUESTION), 200),
    "large batch": (raw.request("/v1/verify/batch", b'{"invoices":[]}' + b" " * 3_000_000), 400),
    "feed": (
        raw.request("/v1/ledger/invoices", b"{}\n", "Content-Type: application/x-ndjson"),
        503,
    ),
}


@pytest.mark.parametrize("half_closed", [False, True], ids=["open", "half-closed"])
@pytest.mark.parametrize(("request_", "status"), REQUESTS.values(), ids=REQUESTS)
async def test_a_request_whose_body_is_coming_is_answered(
    request_: bytes, status: int, half_closed: bool
) -> None:
    """What of it arrives after SIGTERM counts, and the connection is closed behind the answer."""
    whole = len(request_) - (2_900_000 if len(request_) > 2_900_000 else 2)
    async with stopped_after(request_[:whole]) as (reader, writer):
        writer.write(request_[whole:])
        if half_closed:
            writer.write_eof()
        assert raw.statuses(await reader.read()) == [status]


async def test_a_body_that_is_cut_off_is_refused() -> None:
    """Who ends in the middle of it is told so at once, and does not hold up the end."""
    beginning = raw.request("/v1/verify", raw.QUESTION)[:-2]
    async with stopped_after(beginning) as (reader, writer):
        writer.write_eof()
        assert raw.statuses(await reader.read()) == [400]


async def test_a_body_that_is_framed_badly_is_refused() -> None:
    """A chunk that is none does not hold up the end either."""
    head = b"POST /v1/verify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with stopped_after(head + b"3\r\n   \r\n") as (reader, writer):
        writer.write(b"zz\r\n")
        assert raw.statuses(await reader.read()) == [400]


async def test_a_request_that_comes_behind_a_running_one_is_not_begun() -> None:
    """It was sent after the service was told to stop; its client sees that it is not answered."""
    question = raw.request("/v1/verify", raw.QUESTION)
    async with stopped_after(question[:-2]) as (reader, writer):
        writer.write(question[-2:] + question)
        assert raw.statuses(await reader.read()) == [422]


async def test_a_batch_that_is_read_slowly_is_answered_to_the_end() -> None:
    """What its client has not taken in when the service could end is waited for."""
    loop = asyncio.get_running_loop()
    async with started({}) as process:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", process.port))
            await loop.sock_sendall(client, raw.LARGE)
            await raw.becomes(process.port, "verifier_unread_answers", 1)
            os.kill(process.pid, signal.SIGTERM)
            answer = bytearray()
            async with asyncio.timeout(9):
                while block := await loop.sock_recv(client, 16_384):
                    answer += block
                    # 3 MB a second, less than the service writes.
                    await asyncio.sleep(len(block) / 3e6)
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    assert len(body) == length


async def test_a_busy_stream_ends_with_an_incomplete_summary() -> None:
    """However fast its client sends and reads, it ends at once and says that it is not whole."""
    head = b"POST /v1/verify/stream HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    lines = (raw.QUESTION + b"\n") * 300
    chunk = b"%x\r\n%b\r\n" % (len(lines), lines)

    tail = b""
    under_way, ended = asyncio.Event(), asyncio.Event()

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while not ended.is_set():
            writer.write(chunk)
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    async def read(reader: asyncio.StreamReader) -> None:
        nonlocal tail
        size = 0
        while block := await reader.read(1 << 20):
            tail = (tail + block)[-1_000:]
            size += len(block)
            if size > 10_000_000:
                under_way.set()
            if tail.endswith(b"0\r\n\r\n"):
                ended.set()

    async with started({}) as process:
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
        sending = asyncio.create_task(send(writer))
        reading = asyncio.create_task(read(reader))
        await under_way.wait()
        os.kill(process.pid, signal.SIGTERM)
        async with asyncio.timeout(5):
            await asyncio.gather(reading, sending)
        writer.close()
    assert b'"complete":false,"reason":"closing"}' in tail
