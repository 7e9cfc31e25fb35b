"""The one loop of the generator: it acts at moments, sends, and hands replies to who asked.

It waits in ``select`` on one epoll descriptor: the timeout of ``select`` is exact to some 50 µs,
those of ``epoll_wait`` and asyncio are rounded to a millisecond, which is more than an answer
takes; and epoll has no bound on connections, which ``select`` by itself has.
"""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from itertools import count
from time import monotonic
from types import TracebackType
from typing import Self

from loadtests.generator.connections import (
    CUT,
    HUNG,
    UNREACHABLE,
    Address,
    Connection,
    Done,
    Reply,
)

# How often connections are looked through for requests that hang, and the loop asks whether to end.
_SWEEP = 0.1
_EVENTS = 256

Act = Callable[[float], None]


class OpenLoop:
    """Up to ``limit`` connections to one address, the longest idle one first.

    A request that finds none idle opens one; beyond the limit it waits its turn (``waited`` counts
    those), still measured from its intended moment. A request under way for longer than
    ``patience`` seconds is given up. A connection is closed after ``requests_each`` requests, so
    that the load spreads anew over workers that share a port. ``with OpenLoop(...) as loop``.
    """

    def __init__(
        self,
        address: Address,
        *,
        limit: int = 2_000,
        patience: float = 15.0,
        requests_each: int | None = None,
    ) -> None:
        self.waited = 0
        self._address = address
        self._limit = limit
        self._patience = patience
        self._requests_each = requests_each or 1 << 62
        self._epoll = select.epoll()
        self._all: dict[int, Connection] = {}
        self._idle: deque[Connection] = deque()
        self._waiting: deque[tuple[bytes, float, Done, float]] = deque()
        self._timers: list[tuple[float, int, Act]] = []
        # How many series of moments are not over yet.
        self._series = 0
        self._order = count()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for connection in self._all.values():
            connection.socket.close()
        self._epoll.close()

    @property
    def connections(self) -> int:
        """Those that are there, busy or idle."""
        return len(self._all)

    @property
    def open(self) -> int:
        """Requests under way or waiting for a connection."""
        return len(self._waiting) + sum(connection.busy for connection in self._all.values())

    @property
    def done(self) -> bool:
        """Whether all moments of ``each`` have come, and all requests to their end."""
        return not self._series and not self.open

    def connect(self, count: int) -> None:
        """Have so many idle connections before the first request. OSError when one cannot be."""
        for _ in range(count):
            connection = Connection(self._address)
            self._register(connection)
            self._idle.append(connection)

    def narrow(self, count: int) -> None:
        """Close idle connections, the longest idle first, until so many are left."""
        while self._idle and len(self._all) > count:
            self._forget(self._idle.popleft())

    def at(self, moment: float, act: Act) -> None:
        """Call ``act(moment)`` at a moment of the monotonic clock, or as soon as may be after."""
        heappush(self._timers, (moment, next(self._order), act))

    def each(self, moments: Iterator[float], act: Act) -> None:
        """Call ``act`` at each of ascending moments; the next one is taken when one is due."""
        moment = next(moments, None)
        if moment is None:
            return
        self._series += 1

        def due(moment: float) -> None:
            # All that are due by now, without a timer for each.
            now = monotonic()
            following: float | None = moment
            while following is not None and following <= now:
                act(following)
                following = next(moments, None)
            if following is None:
                self._series -= 1
            else:
                self.at(following, due)

        self.at(moment, due)

    def send(self, data: bytes, intended: float, done: Done, patience: float | None = None) -> None:
        """Send a request now, or when a connection is free; ``done`` gets its reply, once.

        It may get it before this returns, when nobody listens. ``patience`` is this request's own.
        """
        if patience is None:
            patience = self._patience
        if self._idle:
            self._send(self._idle.popleft(), data, intended, done, patience)
        elif len(self._all) < self._limit:
            try:
                connection = Connection(self._address)
            except OSError:
                now = monotonic()
                done(Reply(UNREACHABLE, b"", b"", intended, now, now))
                return
            self._register(connection)
            self._send(connection, data, intended, done, patience)
        else:
            self.waited += 1
            self._waiting.append((data, intended, done, patience))

    def run(self, ended: Callable[[], bool]) -> None:
        """Go on until ``ended``, which is asked at least ten times a second."""
        timers, poll = self._timers, self._epoll.poll
        sweep = monotonic() + _SWEEP
        while not ended():
            now = monotonic()
            while timers and timers[0][0] <= now:
                moment, _, act = heappop(timers)
                act(moment)
            if now >= sweep:
                self._give_up(now)
                sweep = now + _SWEEP
            events = poll(0, _EVENTS)
            if not events:
                until = min(timers[0][0], sweep) if timers else sweep
                timeout = until - monotonic()
                if timeout > 0:
                    select.select((self._epoll,), (), (), timeout)
                continue
            for descriptor, event in events:
                connection = self._all.get(descriptor)
                if connection is not None:
                    self._ready(connection, event)

    def _send(
        self, connection: Connection, data: bytes, intended: float, done: Done, patience: float
    ) -> None:
        interest = connection.interest
        connection.patience = patience
        try:
            connection.send(data, intended, done, monotonic())
        except OSError as error:
            self._drop(connection, _status_of(error))
            return
        if connection.interest != interest:
            self._epoll.modify(connection, connection.interest)

    def _ready(self, connection: Connection, event: int) -> None:
        try:
            if event & select.EPOLLOUT:
                connection.writable()
                if not connection.unsent:
                    self._epoll.modify(connection, connection.interest)
            if not event & ~select.EPOLLOUT:
                return
            answer = connection.readable()
        except OSError as error:
            self._drop(connection, _status_of(error))
            return
        if answer is None:
            return
        done, reply = connection.finish(*answer, monotonic())
        # An answer that came before its question had left ends the connection, as HTTP has it.
        over = connection.unsent or connection.served >= self._requests_each
        if over or b"\r\nconnection: close" in reply.head.lower():
            self._forget(connection)
        else:
            self._idle.append(connection)
        self._serve_waiting()
        done(reply)

    def _register(self, connection: Connection) -> None:
        self._all[connection.fileno()] = connection
        self._epoll.register(connection, connection.interest)

    def _forget(self, connection: Connection) -> None:
        self._epoll.unregister(connection)
        del self._all[connection.fileno()]
        connection.socket.close()

    def _drop(self, connection: Connection, status: int) -> None:
        """A connection has ended: so has its request, and another one may be opened for others."""
        self._forget(connection)
        if not connection.busy:
            self._idle.remove(connection)
            self._serve_waiting()
            return
        done, reply = connection.finish(status, b"", b"", monotonic())
        self._serve_waiting()
        done(reply)

    def _serve_waiting(self) -> None:
        while self._waiting and (self._idle or len(self._all) < self._limit):
            self.send(*self._waiting.popleft())

    def _give_up(self, now: float) -> None:
        for connection in list(self._all.values()):
            if connection.busy and connection.sent + connection.patience < now:
                self._drop(connection, HUNG)


def _status_of(error: OSError) -> int:
    return UNREACHABLE if isinstance(error, ConnectionRefusedError) else CUT


@contextmanager
def priority() -> Iterator[None]:
    """Never wait for others on the same core, where the system lets us: late is void."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
