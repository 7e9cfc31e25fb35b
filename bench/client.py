"""Our own HTTP client: plain sockets, at most one request under way on each, and nothing more."""

from __future__ import annotations

import select
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from time import perf_counter

from bench.processes import RigError

Address = tuple[str, int]


def post(path: str, body: bytes) -> bytes:
    """A request as it goes over the wire."""
    return (
        b"POST %b HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body)
    )


class Connection:
    """One keep-alive connection that has at most one request under way."""

    def __init__(self, address: Address) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.begun = 0.0
        self._parts: list[bytes] = []
        self._lacking = -1

    def fileno(self) -> int:
        """For ``select``."""
        return self.socket.fileno()

    def send(self, request: bytes, begun: float) -> None:
        """Send a request that was meant for the moment ``begun``."""
        self.begun = begun
        self.socket.sendall(request)

    def receive(self) -> tuple[int, bytes] | None:
        """Read what has come; status and body once they are complete. RigError at an early end."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise RigError("the server closed a connection in the middle of an answer")
        if self._lacking < 0:
            self._parts.append(data)
            data = b"".join(self._parts)
            head, complete, body = data.partition(b"\r\n\r\n")
            if not complete:
                self._parts = [data]
                return None
            length = int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
            self._status = int(head[9:12])
            self._parts = [body]
            self._lacking = length - len(body)
        else:
            self._parts.append(data)
            self._lacking -= len(data)
        if self._lacking > 0:
            return None
        body = b"".join(self._parts)
        self._parts, self._lacking = [], -1
        return self._status, body


@contextmanager
def connected(address: Address, count: int) -> Iterator[list[Connection]]:
    """So many connections, closed at the end."""
    with ExitStack() as stack:
        yield [stack.enter_context(_closing(Connection(address))) for _ in range(count)]


@contextmanager
def _closing(connection: Connection) -> Iterator[Connection]:
    with connection.socket:
        yield connection


def ask_all(
    address: Address, requests: Sequence[bytes], connections: int = 16
) -> list[tuple[int, bytes]]:
    """Status and body of the answer to each request, in their order."""
    answers: list[tuple[int, bytes]] = [(0, b"")] * len(requests)
    waiting = deque(enumerate(requests))
    with connected(address, min(connections, len(requests))) as idle:
        under_way: dict[Connection, int] = {}
        while waiting or under_way:
            while waiting and idle:
                connection = idle.pop()
                under_way[connection], request = waiting.popleft()
                connection.send(request, 0.0)
            for connection in select.select(list(under_way), (), ())[0]:
                answer = connection.receive()
                if answer is not None:
                    answers[under_way.pop(connection)] = answer
                    idle.append(connection)
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
