"""C15, C18: what a crowd of clients may hold together, each of whom keeps its own bounds."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing

import pytest

from tests.e2e import raw
from tests.e2e.process import Process, started

SINGLE = raw.request("/v1/verify", raw.QUESTION, "Connection: close")
LIVE = raw.request("/livez", b"", method="GET")
MIB = 1 << 20


@asynccontextmanager
async def connected(
    process: Process, count: int, *said: bytes
) -> AsyncIterator[list[socket.socket]]:
    """So many connections that have said something, or nothing, and wait."""
    loop = asyncio.get_running_loop()
    clients = []
    async with AsyncExitStack() as stack:
        for _ in range(count):
            client = stack.enter_context(closing(socket.socket()))
            clients.append(client)
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", process.port))
            for piece in said:
                await loop.sock_sendall(client, piece)
        yield clients


@asynccontextmanager
async def deaf(process: Process, count: int, data: bytes) -> AsyncIterator[None]:
    """So many clients that have sent what they could and do not read."""
    async with AsyncExitStack() as stack:
        clients = [stack.enter_context(closing(raw.Deaf(process.port))) for _ in range(count)]
        sent = (client.send(data, seconds=2) for client in clients)
        await asyncio.gather(*sent, return_exceptions=True)
        yield


def errors(code: str, route: str = "server") -> str:
    """The metric that counts what happens to connections."""
    return f'verifier_http_errors_total{{code="{code}",route="{route}"}}'


async def test_c18_silent_connections_keep_nobody_out() -> None:
    """Who connects, in whatever number, and asks nothing makes room for those who ask."""
    async with started({"max_connections": 20}) as process, connected(process, 200):
        for _ in range(10):
            assert raw.statuses(await raw.said(process.port, SINGLE)) == [422]
        text = await raw.metrics(process.port)
        assert raw.value(text, "verifier_connections") <= 20
        assert raw.value(text, errors("silent_connection")) >= 180


async def test_c18_who_is_turned_away_gets_to_know_it() -> None:
    """The 503 arrives although the request that was sent meanwhile is not read."""
    large = raw.request("/v1/verify", b" " * 20_000)
    async with started({"max_connections": 16}) as process, connected(process, 16, LIVE) as clients:
        # One of which nothing was read yet would make room.
        for client in clients:
            assert await asyncio.get_running_loop().sock_recv(client, 1)
        for _ in range(100):
            assert raw.statuses(await raw.said(process.port, large)) == [503]


@pytest.mark.parametrize(
    "fields",
    [[b"A: x\r\n" * 40], [b"A: " + b"x" * 900 + b"\r\n"] * 5],
    ids=["too many fields", "too much together"],
)
async def test_c18_a_head_is_bounded_as_a_whole(fields: list[bytes]) -> None:
    """Too many fields, or too much of those that trickle in, is a 431 problem."""
    async with started({"max_headers": 30, "max_head": 4_096}) as process:
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
        for field in fields:
            # So that they arrive one by one.
            await asyncio.sleep(0.05)
            writer.write(field)
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
        assert raw.statuses(answer) == [431]
        assert raw.document(answer)["code"] == "header_too_large"


async def test_c18_a_head_in_pieces_is_read_on_a_kept_connection() -> None:
    """What counts is the head that arrives, not those before it."""
    async with started({"max_head": 1_024}) as process:
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
        for _ in range(4):
            writer.write(LIVE[:-2] + b"A: " + b"x" * 500)
            await asyncio.sleep(0.05)
            writer.write(b"\r\n\r\n")
            async with asyncio.timeout(5):
                assert b" 200 " in await reader.readuntil(b"}")
        writer.close()


async def test_c18_what_is_sent_ahead_of_its_turn_is_bounded() -> None:
    """While an answer is not read, a connection takes in max_ahead of further bodies."""
    ahead = raw.request("/v1/verify", b" " * 400_000) * 40
    async with started({}) as process:
        async with deaf(process, 5, raw.LARGE):
            await raw.becomes(process.port, "verifier_unread_answers", 5)
            before = process.resident()
        async with deaf(process, 5, raw.LARGE + ahead):
            await raw.becomes(process.port, "verifier_unread_answers", 5)
            # aiohttp would take in 32 bodies of each client, 64 MB in all.
            assert process.resident() - before < 32 * MIB


async def test_c18_bodies_of_batches_leave_room_for_single_questions() -> None:
    """When batches that are coming hold all that they may, a single question that comes is read."""
    head = raw.request("/v1/verify/batch", b" " * 50_000)[:-50_000]
    single = SINGLE[: -len(raw.QUESTION)]
    async with (
        started({"max_receiving": 80_000, "max_batch_body": 60_000}) as process,
        connected(process, 2, head, b" " * 39_000),
    ):
        await raw.becomes(process.port, errors("unavailable", "batch"), 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
        writer.write(single)
        await asyncio.sleep(0.1)
        writer.write(raw.QUESTION)
        async with asyncio.timeout(5):
            assert raw.statuses(await reader.read()) == [422]
        writer.close()


@pytest.mark.parametrize("path", ["/v1/verify", "/v1/verify/batch"])
async def test_c18_a_body_that_is_said_to_be_too_large_is_not_received(path: str) -> None:
    """It is refused by its head, and holds nothing."""
    head = raw.request(path, b" " * 200_000)[:-200_000]
    async with started({"max_batch_body": 100_000}) as process:
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
        writer.write(head)
        async with asyncio.timeout(5):
            assert b" 413 " in await reader.readuntil(b"\r\n\r\n")
        writer.close()


async def test_c15_the_number_of_unread_answers_is_bounded() -> None:
    """Beyond max_unread the client that has been behind for longest is cut off."""
    async with started({"max_unread": 3}) as process, deaf(process, 5, raw.LARGE):
        await raw.becomes(process.port, errors("too_many_unread", "batch"), 2)
        assert raw.value(await raw.metrics(process.port), "verifier_unread_answers") == 3


async def test_b14_a_stream_that_breaks_off_is_incomplete() -> None:
    """What came of a stream is answered, and the last line says that it was not all."""
    cut = raw.request("/v1/verify/stream", (raw.QUESTION + b"\n") * 3)[:-5]
    async with started({}) as process:
        answer = await raw.said(process.port, cut, shutdown=True)
    assert answer.count(b'"verdict":"invalid"') == 2
    assert b'"complete":false,"reason":"broken_body"}' in answer
