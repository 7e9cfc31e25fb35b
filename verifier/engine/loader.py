"""Loader: how questions that memory cannot answer become few reads of the ledger.

Callers of one key share one read. Different keys that wait share one query, up to ``max_batch``.
An idle look-up leaves in the turn of the event loop in which it is asked, without any timer, and
batches form by themselves while queries run. The queue is the only one in the program and is
bounded; when it is full a key is refused at once, and bulk has a lower bound than singles.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from verifier.engine.calls import Call, Calls, Loaded, Outcome, Single
from verifier.errors import Unavailable
from verifier.metrics import Metrics
from verifier.wire.records import Finding

FetchMany = Callable[[Sequence[str]], Coroutine[Any, Any, Mapping[str, Finding]]]

# A key that a read left out: its server could not say.
UNCHECKED = Unavailable("unchecked")

_OVERLOADED = Unavailable("overloaded")
_TIMEOUT = Unavailable("timeout")
_CLOSING = Unavailable("closing")
_FAILED = Unavailable("failed")

# A query costs as much as twenty keys do. While one runs that began just now (seconds), another
# one of its class leaves only with so many keys; fewer leave when it returns or turns out to be
# slow. Under load this makes few large queries out of many small ones.
_JUST_NOW = 0.002
_WORTH_A_QUERY = 20


class Limits(msgspec.Struct, frozen=True):
    """The loader's bounds: ``slots`` concurrent queries, keys per query, keys waiting, seconds."""

    slots: int
    max_batch: int
    waiting_singles: int
    waiting_bulk: int
    max_wait: float


class Loader:
    """Turns keys into findings through ``fetch_many``; one per event loop."""

    def __init__(
        self,
        fetch_many: FetchMany,
        limits: Limits,
        clock: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._fetch_many = fetch_many
        self._limits = limits
        self._clock = clock
        self._metrics = metrics
        # Who waits for a key, from its first request until its outcome. Keys that were asked for
        # together share one tuple while nobody joins.
        self._calls: dict[str, Calls] = {}
        # Keys that wait for a slot, with the time of their request, and those that are read.
        self._singles: deque[tuple[str, float]] = deque()
        self._bulk: deque[tuple[str, float]] = deque()
        self._running: set[str] = set()
        self._reads: set[asyncio.Task[Mapping[str, Finding]]] = set()
        self._bulk_reads = 0
        # One slot is kept from bulk, so that a single question never waits for a bulk query.
        self._bulk_slots = max(1, limits.slots - 1)
        self._closed = False
        self._gathering = False
        self._reminder: asyncio.TimerHandle | None = None
        # When the last query of singles and of bulk began.
        self._last_began = [0.0, 0.0]
        self._loop: asyncio.AbstractEventLoop

    @property
    def waiting(self) -> tuple[int, int]:
        """Keys that wait for a slot: of single questions, and of bulk."""
        return len(self._singles), len(self._bulk)

    @property
    def reading(self) -> int:
        """Queries that are running."""
        return len(self._reads)

    async def load_one(self, key: str) -> tuple[Outcome, bool]:
        """The outcome for one key of a single question, and whether another caller's read gave it.

        The same as ``load`` of one key, at half its cost.
        """
        self._loop = asyncio.get_running_loop()
        call = Single(self._loop.create_future())
        sharing = self._calls.get(key)
        if sharing is not None:
            self._calls[key] = (*sharing, call)
            if key not in self._running:
                self._bring_forward(key, sharing[0])
            return await call.future, True
        if self._closed or len(self._singles) >= self._limits.waiting_singles:
            return _CLOSING if self._closed else _OVERLOADED, False
        self._calls[key] = (call,)
        self._singles.append((key, self._clock()))
        self._gather()
        return await call.future, False

    async def load(self, keys: Collection[str], *, bulk: bool = False) -> Loaded:
        """An outcome for each of the distinct keys; Unavailable is returned, never raised.

        A caller that is cancelled leaves the read to the others who wait for it.
        """
        self._loop = asyncio.get_running_loop()
        now = self._clock()
        call = Call(self._loop.create_future(), now)
        calls = self._calls
        queue = self._bulk if bulk else self._singles
        bound = self._limits.waiting_bulk if bulk else self._limits.waiting_singles
        alone = (call,)
        if not self._closed and len(queue) + len(keys) <= bound and calls.keys().isdisjoint(keys):
            calls.update(dict.fromkeys(keys, alone))
            queue.extend([(key, now) for key in keys])
            call.open, keys = len(keys), ()
        for key in keys:
            sharing = calls.get(key)
            if sharing is not None:
                calls[key] = (*sharing, call)
                call.joined.add(key)
            elif self._closed or len(queue) >= bound:
                call.outcomes[key] = _CLOSING if self._closed else _OVERLOADED
                continue
            else:
                calls[key] = alone
                queue.append((key, now))
            call.open += 1
        if call.open:
            self._gather()
            await call.future
        return Loaded(call.outcomes, call.joined)

    async def close(self) -> None:
        """Refuse what waits and what comes; return when the running queries have ended."""
        self._closed = True
        if self._reminder is not None:
            self._reminder.cancel()
        for queue in (self._singles, self._bulk):
            while queue:
                self._settle([queue.popleft()[0]], {}, _CLOSING)
        if self._reads:
            await asyncio.wait(self._reads)

    def _bring_forward(self, key: str, first: Call | Single) -> None:
        """A person has joined for a key that waits: that must not be where bulk waits."""
        if type(first) is Call and len(self._singles) < self._limits.waiting_singles:
            place = key, first.began
            with suppress(ValueError):  # it waits with the singles already
                self._bulk.remove(place)
                self._singles.appendleft(place)
                self._gather()

    def _settle(
        self, keys: Sequence[str], found: Mapping[str, Finding], otherwise: Unavailable
    ) -> None:
        """Hand out the outcomes of keys, to those who wait for them."""
        outcomes: Mapping[str, Outcome] = found
        if len(found) != len(keys) or not all(map(found.__contains__, keys)):
            outcomes = {key: found.get(key, otherwise) for key in keys}
        waiting = list(map(self._calls.pop, keys))
        if waiting.count(waiting[0]) == len(keys):
            for call in waiting[0]:
                call.deliver(outcomes)
            return
        for key, calls in zip(keys, waiting, strict=True):
            for call in calls:
                call.deliver({key: outcomes[key]})

    def _gather(self) -> None:
        """Dispatch in this very turn of the event loop, after the callers that are ready in it."""
        if not self._gathering:
            self._gathering = True
            self._loop.call_soon(self._gathered)

    def _gathered(self) -> None:
        self._gathering = False
        self._dispatch()

    def _dispatch(self) -> None:
        """Start queries while there are free slots and keys that wait."""
        while len(self._reads) < self._limits.slots:
            now = self._clock()
            if len(self._singles) >= self._worth(len(self._reads) - self._bulk_reads, False, now):
                keys, bulk = self._take(self._singles), False
            elif self._bulk_reads < self._bulk_slots and len(self._bulk) >= self._worth(
                self._bulk_reads, True, now
            ):
                keys, bulk = self._take(self._bulk), True
            else:
                self._look_again()
                return
            if keys:
                read = self._loop.create_task(self._fetch_many(keys))
                self._reads.add(read)
                self._bulk_reads += bulk
                self._last_began[bulk] = now
                read.add_done_callback(partial(self._finish, keys, bulk, now))

    def _look_again(self) -> None:
        """See to keys that wait for company although there is a slot, should the query be slow."""
        waiting = self._singles or (self._bulk and self._bulk_reads < self._bulk_slots)
        if waiting and self._reminder is None:
            self._reminder = self._loop.call_later(_JUST_NOW, self._remind)

    def _remind(self) -> None:
        self._reminder = None
        self._dispatch()

    def _worth(self, running: int, bulk: bool, now: float) -> int:
        """How many keys must wait for another query of a class of which so many run."""
        idle = not running or now - self._last_began[bulk] >= _JUST_NOW
        return 1 if idle else min(_WORTH_A_QUERY, self._limits.max_batch)

    def _take(self, queue: deque[tuple[str, float]]) -> list[str]:
        """The next keys for a query, without those that nobody awaits or that waited too long."""
        since_at_least = self._clock() - self._limits.max_wait
        while queue and queue[0][1] < since_at_least:
            self._settle([queue.popleft()[0]], {}, _TIMEOUT)
        # Free slots share what waits, so that the worker has work while PostgreSQL has.
        share = -(-len(queue) // (self._limits.slots - len(self._reads)))
        most = min(max(share, _WORTH_A_QUERY), self._limits.max_batch)
        keys: list[str] = []
        alive: Calls = ()
        while queue and len(keys) < most:
            key, _ = queue.popleft()
            calls = self._calls[key]
            if calls is alive or any(not call.future.done() for call in calls):
                alive = calls
                keys.append(key)
            else:
                del self._calls[key]
        self._running.update(keys)
        return keys

    def _finish(
        self,
        keys: list[str],
        bulk: bool,
        started: float,
        read: asyncio.Task[Mapping[str, Finding]],
    ) -> None:
        """Hand out the outcomes of a query, whatever became of it, and start the next."""
        self._reads.discard(read)
        self._bulk_reads -= bulk
        self._metrics.query_keys.observe(len(keys))
        self._metrics.query_seconds.observe(self._clock() - started)
        found: Mapping[str, Finding] = {}
        otherwise = UNCHECKED
        if read.cancelled():
            otherwise = _CLOSING
        elif (error := read.exception()) is None:
            found = read.result()
        elif isinstance(error, Unavailable):
            otherwise = error
        else:
            otherwise = _FAILED
            read.get_loop().call_exception_handler(
                {"message": "look-up failed", "exception": error, "task": read}
            )
        self._running.difference_update(keys)
        self._settle(keys, found, otherwise)
        self._dispatch()
