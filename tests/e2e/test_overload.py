"""A worker whose event loop is saturated: what it refuses, and that it recovers by itself."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.e2e import raw
from tests.e2e.support import Service, running
from tests.support import Database

ROUND = 0.02


@asynccontextmanager
async def saturated() -> AsyncIterator[None]:
    """The event loop of this process has so much to do in each round, one after the other."""

    async def work() -> None:
        while True:
            time.sleep(ROUND)  # noqa: ASYNC251 - a loop that is kept busy is what is tested
            await asyncio.sleep(0)

    working = asyncio.create_task(work())
    yield
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working


async def said_to(service: Service, *requests: bytes) -> list[tuple[int, bytes]]:
    """Status and body of what requests get that arrive in the same round."""
    port = int(service.url.rpartition(":")[2])
    clients = [await asyncio.open_connection("127.0.0.1", port) for _ in requests]
    answers = []
    for (_, writer), request in zip(clients, requests, strict=True):
        writer.write(request)
    for reader, writer in clients:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        answers.append((int(head[9:12]), await reader.readexactly(length)))
        writer.close()
    return answers


async def until_refused(service: Service) -> list[tuple[int, bytes]]:
    """The answers to the first requests of one round of which some are refused."""
    request = raw.request("/v1/verify", raw.QUESTION, "Connection: close")
    async with asyncio.timeout(30):
        while True:
            answers = await said_to(service, *[request] * 20)
            if any(status == 503 for status, _ in answers):
                return answers


async def test_a_saturated_worker_refuses_early(database: Database) -> None:
    """Some of each round are answered, others are refused at once, with a time to come again."""
    async with running(database, standing_delay=0.001) as service, saturated():
        answers = await until_refused(service)
    assert {status for status, _ in answers} == {422, 503}
    refused = [json.loads(body) for status, body in answers if status == 503]
    assert {each["reason"] for each in refused} == {"overloaded"}
    assert {each["retry_after"] for each in refused} <= {1, 2, 3}


async def test_bulk_is_refused_first(database: Database) -> None:
    """While single questions are still answered; a batch before its body has come."""
    body = b"x" * 1_000
    batch, stream = (
        raw.request(f"/v1/verify/{path}", body, "Connection: close").removesuffix(body)
        for path in ("batch", "stream")
    )
    async with running(database, standing_delay=0.001) as service, saturated():
        await until_refused(service)
        answers = await said_to(service, batch, stream)
    assert [status for status, _ in answers] == [503, 503]


async def test_it_recovers_by_itself(database: Database) -> None:
    """As soon as rounds are short again."""
    request = raw.request("/v1/verify", raw.QUESTION, "Connection: close")
    async with running(database, standing_delay=0.001) as service:
        async with saturated():
            await until_refused(service)
        async with asyncio.timeout(30):
            while any(status == 503 for status, _ in await said_to(service, *[request] * 20)):
                pass
        answers = await said_to(service, *[request] * 20)
    assert {status for status, _ in answers} == {422}
