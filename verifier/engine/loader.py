"""Loader: how questions that memory cannot answer become few reads of the ledger.

Callers of one key share one read. Different keys that wait share one read, up to ``max_batch``.
A key that finds no read running leaves in the same round of the event loop, without any timer, and
batches form by themselves while reads run. Singles and bulk wait in lanes (lanes.py), which are
the only queues in the program and are bounded: when its lane is full, a key of a single question is
refused at once, and bulk waits for room, which slows down those who send it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from math import inf
from typing import Any

from verifier.engine import lanes
from verifier.engine.calls import (
    CLOSING,
    TIMEOUT,
    Call,
    Calls,
    Due,
    Loaded,
    Outcome,
    Outside,
    Single,
    Told,
    ended,
    latest_deadline,
    settle,
    still_awaited,
)
from verifier.engine.concurrency import Concurrency
from verifier.engine.lanes import WORTH_A_READ, Lane, Lanes, Limits
from verifier.errors import Unavailable
from verifier.metrics import Metrics
from verifier.wire.records import Finding

# Reads distinct keys; no query runs beyond the deadline (steady clock).
FetchMany = Callable[[Sequence[str], float], Coroutine[Any, Any, Mapping[str, Finding]]]

_OVERLOADED = Unavailable("overloaded")


class Loader:
    """Turns keys into findings through ``fetch_many``; one per event loop."""

    def __init__(
        self,
        fetch_many: FetchMany,
        limits: Limits,
        clock: Callable[[], float],
        metrics: Metrics,
        concurrency: Concurrency | None = None,
    ) -> None:
        self._fetch_many = fetch_many
        self._limits = limits
        self._clock = clock
        self._metrics = metrics
        # Who waits for each key, from the first request for it until its outcome. Keys that one
        # caller asked for share one tuple until somebody joins.
        self._calls: dict[str, Calls] = {}
        self._concurrency = concurrency or Concurrency(limits.slots, clock)
        self._lanes = Lanes(limits)
        self._singles, self._bulk = self._lanes
        # Keys in flight.
        self._running: set[str] = set()
        self._reads: set[asyncio.Task[Mapping[str, Finding]]] = set()
        self._due = Due()
        self._outside = Outside()
        self._closed = False
        self._gathering = False
        self._reminder: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> tuple[int, int]:
        """How many keys wait for a read: of single questions, and of bulk."""
        return len(self._singles.queue), len(self._bulk.queue)

    @property
    def reading(self) -> int:
        """How many reads are in flight."""
        return len(self._reads)

    async def load_one(self, key: str, deadline: float = inf) -> tuple[Outcome, bool]:
        """The outcome for one key of a single question, and whether another caller's read gave it.

        The same as ``load`` of one key, at half its cost.
        """
        call = Single(asyncio.get_running_loop().create_future(), deadline)
        joined = self._enter(key, call)
        if isinstance(joined, Unavailable):
            return joined, False
        return await call.future, joined

    def load_soon(self, key: str, call: Told) -> Unavailable | None:
        """The same for a caller that is no task; why, if the key is refused at once."""
        call.due = self._due
        joined = self._enter(key, call)
        if isinstance(joined, Unavailable):
            return joined
        call.joined = joined
        return None

    def _enter(self, key: str, call: Single | Told) -> bool | Unavailable:
        """Have a single question wait for a key; whether another's read brings it, or why not."""
        sharing = self._calls.get(key)
        if sharing is not None:
            self._calls[key] = (*sharing, call)
            if key not in self._running and type(sharing[0]) is Call:
                self._bring_forward(key)
            return True
        lane = self._singles
        if self._closed or len(lane.queue) >= lane.most_waiting:
            return CLOSING if self._closed else _OVERLOADED
        self._calls[key] = (call,)
        lane.queue.append((key, self._clock()))
        self._gather()
        return False

    async def load(
        self, keys: Collection[str], deadline: float = inf, *, bulk: bool = False
    ) -> Loaded:
        """An outcome for each of the distinct keys; Unavailable is returned, never raised.

        No read of a key begins after the last deadline (steady clock) of those who wait for it; a
        key of a single question waits no longer than ``max_wait`` either. A caller that is
        cancelled leaves the read to the others.
        """
        now = self._clock()
        call = Call(asyncio.get_running_loop().create_future(), deadline)
        calls = self._calls
        lane = self._bulk if bulk else self._singles
        queue, bound = lane.queue, lane.most_waiting
        alone = (call,)
        if not self._closed and len(queue) + len(keys) <= bound and calls.keys().isdisjoint(keys):
            calls.update(dict.fromkeys(keys, alone))
            queue.extend([(key, now) for key in keys])
            call.open, keys = len(keys), ()
        # One more until all of its keys have been taken in: others may be answered before.
        call.open += 1
        for key in keys:
            while bulk and len(queue) >= bound and key not in calls and not self._closed:
                if now >= deadline:
                    break
                self._gather()
                await self._outside.wait(call, deadline - now)
                now = self._clock()
            sharing = calls.get(key)
            if sharing is not None:
                calls[key] = (*sharing, call)
                call.joined.add(key)
            elif self._closed or len(queue) >= bound:
                why = TIMEOUT if bulk else _OVERLOADED
                call.outcomes[key] = CLOSING if self._closed else why
                continue
            else:
                calls[key] = alone
                queue.append((key, now))
            call.open += 1
        call.open -= 1
        if call.open:
            self._gather()
            await call.future
        return Loaded(call.outcomes, call.joined)

    async def close(self) -> None:
        """Refuse what waits and what comes; return when no read is in flight any more."""
        self._closed = True
        self._outside.let_in()
        if self._reminder is not None:
            self._reminder.cancel()
        for lane in self._lanes:
            while lane.queue:
                settle(self._calls, [lane.queue.popleft()[0]], {}, CLOSING)
        try:
            self._due.tell()
        finally:
            if self._reads:
                await asyncio.wait(self._reads)

    def _bring_forward(self, key: str) -> None:
        """Move a key that waits with bulk to the front of the singles: a person waits for it."""
        singles, bulk = self._singles, self._bulk
        place = bulk.place(key)
        if place is not None and len(singles.queue) < singles.most_waiting:
            del bulk.queue[place]
            # It has not waited for long as a single question.
            singles.queue.appendleft((key, self._clock()))
            self._outside.let_in()
            self._gather()

    def _gather(self) -> None:
        """Dispatch in this round of the event loop, after the callers that are ready in it."""
        if not self._gathering:
            self._gathering = True
            asyncio.get_running_loop().call_soon(self._gathered)

    def _gathered(self) -> None:
        self._gathering = False
        self._dispatch()

    def _dispatch(self) -> None:
        """Start reads while the limit allows them and a lane has keys that are worth one."""
        now = self._clock()
        while (lane := self._lanes.next(now)) is not None:
            self._begin(lane, now)
            now = self._clock()
        if self._lanes.free > 0:
            self._look_again()
        self._due.tell()

    def _look_again(self) -> None:
        """Come back shortly to keys that wait beside a read, for that may turn out to be slow."""
        if self._reminder is None and any(lane.may_read for lane in self._lanes):
            self._reminder = asyncio.get_running_loop().call_later(lanes.JUST_NOW, self._remind)

    def _remind(self) -> None:
        self._reminder = None
        self._dispatch()

    def _begin(self, lane: Lane, now: float) -> None:
        """Start a read of a lane's next keys, unless nobody waits for any of them any more."""
        keys, deadline = self._take(lane, now)
        if keys:
            read = asyncio.create_task(self._fetch_many(keys, deadline))
            self._reads.add(read)
            self._running.update(keys)
            self._lanes.begin(lane, now)
            read.add_done_callback(partial(self._finish, keys, deadline, lane, now))

    def _take(self, lane: Lane, now: float) -> tuple[list[str], float]:
        """The next keys for a read, and its deadline: the latest that one of their callers has.

        A key is given up when it has waited too long, or when all its callers have gone or are past
        their deadlines.
        """
        queue = lane.queue
        # Bulk waits for as long as its caller does.
        longest = self._limits.max_wait if lane is self._singles else inf
        while queue and queue[0][1] < now - longest:
            settle(self._calls, [queue.popleft()[0]], {}, TIMEOUT)
        # Reads that may begin share what waits, so that the worker has work while PostgreSQL has.
        share = -(-len(queue) // max(1, self._lanes.free))
        most = min(max(share, WORTH_A_READ), self._limits.max_batch)
        keys: list[str] = []
        deadline = -inf
        # Neighbours mostly have the same caller, whose deadline is looked at once.
        neighbours: Calls = ()
        while queue and len(keys) < most:
            key, _ = queue.popleft()
            calls = self._calls[key]
            if calls is not neighbours:
                latest = latest_deadline(calls)
                if latest < now:
                    settle(self._calls, [key], {}, TIMEOUT)
                    continue
                neighbours = calls
                deadline = max(deadline, latest)
            keys.append(key)
        if lane is self._bulk:
            self._outside.let_in()
        return keys, deadline

    def _finish(
        self,
        keys: list[str],
        deadline: float,
        lane: Lane,
        began: float,
        read: asyncio.Task[Mapping[str, Finding]],
    ) -> None:
        """Hand out the outcomes of a read, however it ended, and start the next."""
        self._reads.discard(read)
        self._running.difference_update(keys)
        lane.end()
        now = self._clock()
        seconds = now - began
        self._metrics.query_keys.observe(len(keys))
        self._metrics.query_seconds.observe(seconds)
        found, otherwise = ended(read)
        late = otherwise.reason == TIMEOUT.reason
        # What failed at once says nothing of how long reads take.
        if (found or late) and self._concurrency.book(seconds, len(keys)):
            self._lanes.limit_to(self._concurrency.limit)
        if late and now >= deadline and not self._closed:
            # Those for whom it began have no time left, but some have joined it who do.
            again = still_awaited(self._calls, keys, now, otherwise)
            lane.queue.extendleft((key, now) for key in reversed(again))
            keys = sorted(set(keys).difference(again))
        if keys:
            settle(self._calls, keys, found, otherwise)
        self._dispatch()
