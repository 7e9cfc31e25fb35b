"""HTTP as bytes: what no client library would send, and clients that do not read."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from typing import Any

QUESTION = b'{"number":"12"}'


def request(path: str, body: bytes, *headers: str, method: str = "POST") -> bytes:
    """A request with a whole body."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


# 10,000 items of five errors each: the answer of 7 MB is more than the kernel keeps for a client.
_ITEMS = b",".join([b'{"number":"1","date":"x","total":"y","amount":"z","tax":"?"}'] * 10_000)
LARGE = request("/v1/verify/batch", b'{"invoices":[' + _ITEMS + b"]}")


async def said(port: int, data: bytes, *, shutdown: bool = False) -> bytes:
    """What is answered until the service closes; ``shutdown`` closes our side after the request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        if shutdown:
            writer.write_eof()
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


def statuses(answer: bytes) -> list[int]:
    """The status of each response."""
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)]


def document(answer: bytes) -> Any:
    """The JSON of a single response."""
    return json.loads(answer.partition(b"\r\n\r\n")[2])


async def metrics(port: int) -> str:
    """The metrics as they are."""
    return (await said(port, request("/metrics", b"", "Connection: close", method="GET"))).decode()


def value(text: str, name: str) -> float:
    """A metric whose line begins so, 0 when there is none."""
    found = re.search(rf"^{re.escape(name)}\S* (.+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def becomes(port: int, name: str, least: float) -> None:
    """Return when a metric has reached a value, within a bound."""
    async with asyncio.timeout(10):
        while value(await metrics(port), name) < least:
            await asyncio.sleep(0.05)


class Deaf:
    """A client that sends and does not read, with hardly room for what comes."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sock = socket.socket()
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self._sock.setblocking(False)

    async def send(self, data: bytes, seconds: float) -> None:
        """Connect and send; raises TimeoutError when the service does not take it in."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(seconds):
            await loop.sock_connect(self._sock, ("127.0.0.1", self._port))
            await loop.sock_sendall(self._sock, data)

    def close(self) -> None:
        """Go."""
        self._sock.close()
