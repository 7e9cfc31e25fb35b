"""Requests as bytes, all of some answered, and a stream that is sent and read at once."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from time import perf_counter

from loadtests.generator.connections import Address, Reply
from loadtests.generator.loop import OpenLoop
from loadtests.processes import RigError


def post(path: str, body: bytes) -> bytes:
    """A request as it goes over the wire."""
    return (
        b"POST %b HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body)
    )


def ask_all(
    address: Address, requests: Sequence[bytes], connections: int = 16
) -> list[tuple[int, bytes]]:
    """Status and body of the answer to each request, in their order."""
    answers: list[tuple[int, bytes]] = [(0, b"")] * len(requests)
    lacking = len(requests)
    with OpenLoop(address, limit=connections) as loop:
        for index, request in enumerate(requests):

            def done(reply: Reply, index: int = index) -> None:
                nonlocal lacking
                answers[index] = reply.status, reply.body
                lacking -= 1

            loop.send(request, 0.0, done)
        loop.run(lambda: not lacking)
    return answers


def stream(address: Address, path: str, lines: Sequence[bytes], count: int) -> tuple[float, bytes]:
    """Send ``count`` lines (``lines`` again and again) and read all answers at the same time.

    Returns seconds and the end of the response, which has the summary.
    """
    block_of = 1_000
    blocks = [
        b"\n".join(lines[at : at + block_of]) + b"\n" for at in range(0, len(lines), block_of)
    ]
    body = list(islice(cycle(blocks), count // block_of))
    head = (
        b"POST %b HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-ndjson\r\n"
        b"Content-Length: %d\r\n\r\n" % (path.encode(), sum(map(len, body)))
    )
    sending: Iterator[bytes] = iter([head, *body])
    left = memoryview(b"")
    tail = b""
    with socket.create_connection(address) as sock:
        sock.setblocking(False)
        begin = perf_counter()
        writing = [sock]
        while not tail.endswith(b"0\r\n\r\n"):
            readable, writable, _ = select.select([sock], writing, (), 60.0)
            if not readable and not writable:
                raise RigError("a stream stood still for a minute")
            if writable:
                if not left:
                    left = memoryview(next(sending, b""))
                    writing = [sock] if left else []
                if left:
                    left = left[sock.send(left) :]
            if readable:
                data = sock.recv(1 << 20)
                if not data:
                    raise RigError(f"the server cut a stream: {tail!r}")
                tail = (tail + data)[-400:]
        return perf_counter() - begin, tail
