"""C15, C18: who goes leaves nothing behind that only a garbage collection could free.

Such garbage holds bodies, so that memory grows with clients that come and go; and when thousands
of them are collected at once, everybody waits for a tenth of a second.
"""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
import pytest_asyncio

from tests.e2e import raw
from verifier.api.server.connection import Connection
from verifier.app.service import Service
from verifier.config import Config

pytestmark = pytest.mark.asyncio(loop_scope="module")


def chunked(path: str, body: bytes) -> bytes:
    """A request whose body comes in chunks."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head.encode() + body


# What a client sends before it goes.
SENT = {
    "nothing": b"",
    "part of a head": b"POST /v1/verify HTTP/1.1\r\nHost:",
    "no request": b"\x00\xff\r\n\r\n",
    "a question": raw.request("/v1/verify", raw.QUESTION),
    "part of a question": raw.request("/v1/verify", b" " * 300_000)[:-1],
    "part of a batch": raw.request("/v1/verify/batch", b" " * 300_000)[:-1],
    "a batch": raw.LARGE,
    "a batch and more": raw.LARGE + raw.request("/v1/verify", raw.QUESTION) * 3,
    "a bad chunk": chunked("/v1/verify", b"zz\r\n\r\n"),
    "a bad chunk later": chunked("/v1/verify/batch", b"3\r\n   \r\nzz\r\n\r\n"),
    "part of a stream": chunked("/v1/verify/stream", b"10\r\n" + raw.QUESTION + b"\n\r\n"),
    "a bad chunk of a stream": chunked("/v1/verify/stream", b"3\r\n{}\n\r\nzz\r\n\r\n"),
    "part of what is refused": raw.request("/v1/ledger/invoices", b" " * 300_000)[:-1],
    "too much": raw.request("/v1/verify", b" " * 3_000_000)[:-1],
}


@contextmanager
def no_collection() -> Iterator[None]:
    """A time without garbage collection."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def connections() -> int:
    """How many there are in memory, open or closed."""
    return sum(isinstance(each, Connection) for each in gc.get_objects())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def port() -> AsyncIterator[int]:
    """That of a service without a database in this process."""
    config = Config.of(
        primary_dsn="postgresql://127.0.0.1:1/nowhere", expose_ledger="on", auth="off"
    )
    async with Service(config).serving("127.0.0.1", 0) as url:
        yield int(url.rpartition(":")[2])


async def come_and_go(port: int, data: bytes, *, reset: bool) -> None:
    """Connect, send, wait for what is answered at once, and go."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, data)
        try:
            async with asyncio.timeout(0.2):
                await loop.sock_recv(client, 64)
        except TimeoutError:
            pass
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("data", SENT.values(), ids=SENT)
async def test_c15_c18_who_goes_leaves_no_garbage(port: int, data: bytes, reset: bool) -> None:
    """When a client has gone its connection is freed at once, with all that it holds."""
    with no_collection():
        before = connections()
        for _ in range(2):
            await come_and_go(port, data, reset=reset)
        async with asyncio.timeout(10):
            while connections() > before:
                await asyncio.sleep(0.05)
