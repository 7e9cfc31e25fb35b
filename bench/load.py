"""Load: wrk for single questions at saturation, our own clients for everything else.

Ours work on plain sockets with ``select``, whose timeout is exact to some 50 µs: the timers of
asyncio and libuv have a grain of a millisecond, which is more than an answer takes.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import subprocess
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from pathlib import Path
from random import Random
from time import perf_counter, process_time

import msgspec

from bench.processes import RigError, pinned

Address = tuple[str, int]

SCRIPT = Path(__file__).parent / "ask.lua"

# What the generator itself may take of its core, and how late it may be, before a run is void.
MOST_OF_CORE = 0.8
LATE_SECONDS = 0.001
LATE_SHARE = 0.01


class Void(Exception):
    """A run whose generator was the bottleneck; says how."""


class Saturated(msgspec.Struct, frozen=True):
    """What a closed loop has got: answers, seconds, the generator's share of its core."""

    answers: int
    seconds: float
    generator: float
    p99: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


class Latencies(msgspec.Struct, frozen=True):
    """What an open loop has got: seconds from the intended moment to the answer, in order."""

    seconds: list[float]
    generator: float
    late: float

    def percentile(self, share: float) -> float:
        """The latency that so many (0 to 1) are within."""
        return self.seconds[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


def wrk(
    url: str, questions: Path, core: int, *, seconds: float, offset: int = 0, connections: int = 64
) -> Saturated:
    """Single questions as fast as they are answered, for whole seconds. All answers must be 2xx.

    RigError when wrk is missing or an answer was not; Void when wrk had too little of its core.
    """
    if shutil.which("wrk") is None:
        raise RigError("wrk is not installed (Debian's package of that name); it is the load here")
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{max(1, round(seconds))}s",
        "-s",
        str(SCRIPT),
        url,
    ]
    command += ["--", str(questions), "/v1/verify", str(offset)]
    with subprocess.Popen(pinned(core, command), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        # Once, and with what it has used.
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RigError(f"wrk ended with {process.returncode}:\n{printed[-2000:]}")
    said = json.loads(printed.rstrip().rpartition("\n")[2])
    if said["refused"] or said["broken"] or not said["requests"]:
        raise RigError(f"{url}: not all questions were answered: {said}")
    share = (used.ru_utime + used.ru_stime) / said["seconds"]
    if share > MOST_OF_CORE:
        raise Void(f"wrk took {share:.0%} of its core")
    return Saturated(said["requests"], said["seconds"], share, said["p99"])


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


def closed_loop(
    address: Address,
    requests: Sequence[bytes],
    ends_with: bytes,
    *,
    seconds: float,
    connections: int,
) -> Saturated:
    """Requests as fast as they are answered; each answer must have ``ends_with`` near its end."""
    source = cycle(requests)
    answers = 0
    with connected(address, connections) as all_of_them, _priority():
        begin, used = perf_counter(), process_time()
        for connection in all_of_them:
            connection.send(next(source), begin)
        while (now := perf_counter()) - begin < seconds:
            for connection in select.select(all_of_them, (), ())[0]:
                answer = connection.receive()
                if answer is None:
                    continue
                end = answer[1][-200:]
                if b'"unavailable":' in end and b'"unavailable":0' not in end:
                    raise Void("the service refused a part: somebody else has its core")
                if answer[0] != 200 or ends_with not in end:
                    raise RigError(f"status {answer[0]}: {answer[1][-200:]!r}")
                answers += 1
                connection.send(next(source), now)
        taken = perf_counter() - begin
        share = (process_time() - used) / taken
        # What is still under way would be in the way of the next measurement.
        while all_of_them:
            for connection in select.select(all_of_them, (), ())[0]:
                if connection.receive() is not None:
                    all_of_them.remove(connection)
    if share > MOST_OF_CORE:
        raise Void(f"the generator took {share:.0%} of its core")
    return Saturated(answers, taken, share)


def open_loop(
    address: Address,
    requests: Sequence[bytes],
    *,
    rate: float,
    seconds: float,
    random: Random,
    connections: int = 64,
) -> Latencies:
    """Requests at random moments (a Poisson process of ``rate`` a second), answered or not.

    A request that finds no connection idle waits for one, and its latency counts from the moment
    that it was meant for. Void when the generator was late or short of its core.
    """
    moments = _moments(rate, seconds, random)
    source = cycle(requests)
    taken: list[float] = []
    late = 0
    with connected(address, connections) as idle, _priority():
        everything = list(idle)
        waiting: deque[float] = deque()
        begin, used = perf_counter(), process_time()
        due = begin + next(moments, float("inf"))
        sent = 0
        while due < float("inf") or len(taken) < sent or waiting:
            now = perf_counter()
            while due <= now:
                if idle:
                    idle.pop().send(next(source), due)
                    sent += 1
                    late += now - due > LATE_SECONDS
                else:
                    waiting.append(due)
                due = begin + next(moments, float("inf"))
            timeout = max(0.0, due - perf_counter()) if due < float("inf") else 1.0
            for connection in select.select(everything, (), (), timeout)[0]:
                answer = connection.receive()
                if answer is None:
                    continue
                if answer[0] != 200:
                    raise RigError(f"status {answer[0]}: {answer[1][-200:]!r}")
                taken.append(perf_counter() - connection.begun)
                if waiting:
                    connection.send(next(source), waiting.popleft())
                    sent += 1
                else:
                    idle.append(connection)
        share = (process_time() - used) / (perf_counter() - begin)
    if share > MOST_OF_CORE:
        raise Void(f"the generator took {share:.0%} of its core")
    if late > LATE_SHARE * sent:
        raise Void(f"the generator was late with {late / sent:.1%} of its requests")
    return Latencies(sorted(taken), share, late / sent)


def _moments(rate: float, seconds: float, random: Random) -> Iterator[float]:
    moment = 0.0
    while (moment := moment + random.expovariate(rate)) < seconds:
        yield moment


@contextmanager
def _priority() -> Iterator[None]:
    """Never wait for PostgreSQL on the same core, where the system lets us: late is void."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


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
