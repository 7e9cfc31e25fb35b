"""The open loop against servers of known behaviour."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from time import monotonic, sleep

import pytest

from loadtests.generator import arrivals
from loadtests.generator.arrivals import Slope
from loadtests.generator.connections import CUT, HUNG, UNREACHABLE, Address, BadAnswer, Reply
from loadtests.generator.loop import OpenLoop
from loadtests.histogram import Histogram
from tests.loadtests.servers import Behaviour, serving

# The arithmetic of a server that stands still for half a second every five: arrivals are spread
# evenly, so that one in a hundred finds more than 0.45 s of it left, and none more than 0.5 s.
STALLS = Behaviour(stall=0.5, period=5.0)
P99, LONGEST = 0.45, 0.5
REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
# A busy machine holds up the server as well.
_TRIES = 3


def taken(act: Callable[[OpenLoop, Histogram], None], address: Address) -> Histogram:
    """The latencies of what a run has sent."""
    latencies = Histogram()
    with OpenLoop(address) as loop:
        act(loop, latencies)
    return latencies


def openly(loop: OpenLoop, latencies: Histogram) -> None:
    """300 requests a second for two periods, whatever is in flight."""
    begin = monotonic()
    moments = arrivals.moments([Slope(10.0, 300.0, 300.0)], arrivals.constant())

    def done(reply: Reply) -> None:
        assert reply.status == 200
        latencies.record(reply.received - reply.intended)

    loop.each((begin + moment for moment in moments), lambda at: loop.send(REQUEST, at, done))
    loop.run(lambda: loop.done)


def closed(loop: OpenLoop, latencies: Histogram) -> None:
    """One request after the other for more than one period."""
    over = monotonic() + 6.0

    def done(reply: Reply) -> None:
        latencies.record(reply.received - reply.sent)
        if reply.received < over:
            loop.send(REQUEST, monotonic(), done)

    loop.send(REQUEST, monotonic(), done)
    loop.run(lambda: monotonic() > over and not loop.open)


def test_stalls_are_seen_as_they_are() -> None:
    """P99 and the longest agree with the arithmetic within 5 %: nothing waits unseen."""
    with serving(STALLS) as address:
        for _ in range(_TRIES):
            found = taken(openly, address)
            assert len(found) == 3_000
            if found.max < LONGEST * 1.05:
                break
    assert found.percentile(0.99) == pytest.approx(P99, rel=0.05)
    assert found.max == pytest.approx(LONGEST, rel=0.05)


def test_a_closed_loop_hides_them() -> None:
    """The same server looks a hundred times as fast to who waits for each answer."""
    with serving(STALLS) as address:
        found = taken(closed, address)
    assert found.percentile(0.99) < P99 / 100


def _bytes(*parts: bytes) -> Callable[[socket.socket], None]:
    def act(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        for part in parts:
            connection.sendall(part)

    return act


@contextmanager
def scripted(*acts: Callable[[socket.socket], None]) -> Iterator[Address]:
    """A server that does one thing with each connection that it accepts, and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            for act in acts:
                connection, _ = listening.accept()
                with connection:
                    act(connection)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield listening.getsockname()
        thread.join(10.0)


def replies(
    address: Address, count: int = 1, *, patience: float = 5.0, limit: int = 1
) -> list[Reply]:
    """What comes of so many requests that are sent at once."""
    found: list[Reply] = []
    with OpenLoop(address, patience=patience, limit=limit) as loop:
        for _ in range(count):
            loop.send(REQUEST, monotonic(), found.append)
        loop.run(lambda: len(found) == count)
        assert not loop.open
    return found


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def test_answers_in_parts() -> None:
    """An answer may come in any parts, in the middle of its head too."""
    with serving_bytes(OK[:20], OK[20:-1], OK[-1:]) as address:
        (reply,) = replies(address)
    assert (reply.status, reply.body) == (200, b"{}")


@contextmanager
def serving_bytes(*parts: bytes) -> Iterator[Address]:
    """A server that answers one request with these parts, some time apart."""

    def act(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        for part in parts:
            connection.sendall(part)
            sleep(0.02)

    with scripted(act) as address:
        yield address


def test_answers_in_chunks() -> None:
    """The body of a chunked answer is put together, wherever its parts are cut."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving_bytes(head + b"3\r\nabc\r", b"\n2\r\nde\r\n0\r", b"\n\r\n") as address:
        (reply,) = replies(address)
    assert reply.body == b"abcde"


def test_a_connection_that_ends_cuts_its_request() -> None:
    """A request whose connection ends before its answer is cut; the next one gets another."""
    with scripted(_bytes(OK[:30]), _bytes(OK)) as address:
        first, second = replies(address, 2)
    assert [first.status, second.status] == [CUT, 200]


def test_a_request_without_an_answer_hangs() -> None:
    """A request is given up after the client's patience, on time to a tenth of a second."""
    given_up = threading.Event()
    with scripted(lambda connection: void(given_up.wait(5.0))) as address:
        (reply,) = replies(address, patience=0.3)
        given_up.set()
    assert reply.status == HUNG
    assert 0.3 <= reply.received - reply.sent < 2.0


def void(_: object) -> None:
    """Return nothing."""


def test_an_idle_connection_may_be_closed_with_a_word() -> None:
    """A server says 408 to who connects and asks nothing; the next request opens another one."""

    def closing(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")

    found: list[Reply] = []
    with scripted(closing, _bytes(OK)) as address, OpenLoop(address) as loop:
        loop.connect(1)
        loop.at(monotonic() + 0.3, lambda moment: loop.send(REQUEST, moment, found.append))
        loop.run(lambda: bool(found))
    assert found[0].status == 200


def test_nobody_listens() -> None:
    """Where nobody listens, each request says so, those that waited for a connection too."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
    assert {reply.status for reply in replies(address, 5)} == {UNREACHABLE}


def test_what_waits_for_a_connection_counts_its_wait() -> None:
    """Beyond its connections the loop sends later, and measures from the intended moment."""
    with serving(Behaviour(capacity=20.0)) as address:
        found: list[Reply] = []
        with OpenLoop(address, limit=1) as loop:
            begin = monotonic()
            for _ in range(5):
                loop.send(REQUEST, begin, found.append)
            loop.run(lambda: len(found) == 5)
            assert loop.waited == 4
    assert {reply.intended for reply in found} == {begin}
    assert found[-1].received - begin >= 0.2


def test_an_answer_that_tells_no_length_is_none() -> None:
    """What the service never sends ends the run with its beginning."""
    answer = b"HTTP/1.1 200 OK\r\n\r\n"
    with serving_bytes(answer) as address, pytest.raises(BadAnswer, match="200 OK"):
        replies(address)


def test_connection_close_is_heeded() -> None:
    """A server that closes after its answer is asked again over another connection."""
    closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with scripted(_bytes(closing), _bytes(closing)) as address:
        found = replies(address, 2)
    assert [reply.status for reply in found] == [200, 200]


def test_large_requests_leave_in_parts() -> None:
    """A request larger than the system's buffers is sent whole."""
    size = 8 << 20
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (size, b"x" * size)
    read = 0

    def act(connection: socket.socket) -> None:
        nonlocal read
        while read < len(request):
            read += len(connection.recv(1 << 20))
        connection.sendall(OK)

    found: list[Reply] = []
    with scripted(act) as address, OpenLoop(address) as loop:
        loop.send(request, monotonic(), found.append)
        loop.run(lambda: bool(found))
    assert found[0].status == 200
    assert read == len(request)


def test_connections_are_renewed() -> None:
    """After so many requests a connection is closed, so that the load spreads anew."""
    with serving(Behaviour()) as address, OpenLoop(address, requests_each=2) as loop:
        found: list[Reply] = []

        def done(reply: Reply) -> None:
            found.append(reply)
            if len(found) < 5:
                loop.send(REQUEST, monotonic(), done)

        loop.send(REQUEST, monotonic(), done)
        loop.run(lambda: len(found) == 5)
        assert {reply.status for reply in found} == {200}


def test_connections_that_a_rush_has_opened_are_closed() -> None:
    """Until so many are left; those that are left go on."""
    with serving(Behaviour()) as address, OpenLoop(address) as loop:
        found: list[Reply] = []
        for _ in range(6):
            loop.send(REQUEST, monotonic(), found.append)
        loop.run(lambda: len(found) == 6)
        assert loop.connections == 6
        loop.narrow(2)
        assert loop.connections == 2
        loop.send(REQUEST, monotonic(), found.append)
        loop.run(lambda: len(found) == 7)
        assert loop.connections == 2
        assert {reply.status for reply in found} == {200}


def test_moments_that_are_due_together_are_all_acted_on() -> None:
    """A loop that was held up sends all that was due meanwhile, with their own moments."""
    seen: list[float] = []
    with OpenLoop(("127.0.0.1", 1)) as loop:
        begin = monotonic() - 1.0
        moments = [begin + step / 10 for step in range(10)]
        loop.each(iter(moments), seen.append)
        loop.run(lambda: len(seen) == 10)
    assert seen == moments
    assert list(islice(seen, 1)) == [begin]
