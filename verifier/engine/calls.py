"""Calls: who waits for keys that are being read, until when, and what they get."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

import msgspec

from verifier.errors import Unavailable
from verifier.wire.records import Finding

Outcome = Finding | Unavailable

# A key that a read left out: its server could not say.
UNCHECKED = Unavailable("unchecked")
# A key that was not read in time.
TIMEOUT = Unavailable("timeout")
# A key that nobody reads any more, and one whose read did not work for a reason of ours.
CLOSING = Unavailable("closing")
_FAILED = Unavailable("failed")


class Call:
    """One caller: its outcomes so far, and a future for when none of its keys is open any more.

    ``deadline`` is a moment of the steady clock.
    """

    __slots__ = ("deadline", "future", "joined", "open", "outcomes")

    def __init__(self, future: asyncio.Future[None], deadline: float) -> None:
        self.future = future
        self.deadline = deadline
        self.outcomes: dict[str, Outcome] = {}
        self.joined: set[str] = set()
        self.open = 0

    def deliver(self, key: str, outcome: Outcome) -> None:
        """Take the outcome of one of its keys."""
        self.deliver_many({key: outcome})

    def deliver_many(self, outcomes: Mapping[str, Outcome]) -> None:
        """Take the outcomes of some of its keys."""
        self.outcomes.update(outcomes)
        self.open -= len(outcomes)
        if not self.open and not self.future.done():
            self.future.set_result(None)


class Outside:
    """Callers of bulk that wait for room in its lane."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    async def wait(self, call: Call, seconds: float) -> None:
        """Return when there may be room for more keys of a caller, or after so many seconds."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await asyncio.wait({waiter}, timeout=None if seconds == inf else seconds)
        except asyncio.CancelledError:
            # Nobody awaits its keys that were taken in.
            call.future.cancel()
            raise

    def let_in(self) -> None:
        """Have all look again, in the order in which they came."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


class Single:
    """A caller with one key; the future brings its outcome."""

    __slots__ = ("deadline", "future")

    def __init__(self, future: asyncio.Future[Outcome], deadline: float) -> None:
        self.future = future
        self.deadline = deadline

    def deliver(self, _key: str, outcome: Outcome) -> None:
        """Take the outcome of its key."""
        if not self.future.done():
            self.future.set_result(outcome)


class Told:
    """A caller with one key who is called back when ``due`` has its turn; it waits as no task.

    ``tell`` is called with it once it has its ``outcome``; ``joined`` says whether another caller's
    read brought that. Such a caller never goes before its outcome.
    """

    __slots__ = ("deadline", "due", "joined", "outcome", "tell")

    due: Due
    outcome: Outcome

    def __init__(self, tell: Callable[[Any], object], deadline: float = inf) -> None:
        self.tell = tell
        self.deadline = deadline
        self.joined = False

    def deliver(self, _key: str, outcome: Outcome) -> None:
        """Take the outcome of its key."""
        self.outcome = outcome
        self.due.append(self)


class Due(deque[Told]):
    """Callers who have their outcome and are yet to be told."""

    def tell(self) -> None:
        """Tell them. An error of one is the event loop's to report, and concerns no other."""
        try:
            while self:
                call = self.popleft()
                call.tell(call)
        finally:
            if self:
                asyncio.get_running_loop().call_soon(self.tell)


Calls = tuple[Call | Single | Told, ...]


def latest_deadline(calls: Calls) -> float:
    """Until when the last of them waits; minus infinity when all of them are gone."""
    latest = -inf
    for call in calls:
        if call.deadline > latest and (isinstance(call, Told) or not call.future.done()):
            latest = call.deadline
    return latest


def still_awaited(
    calls: dict[str, Calls], keys: Sequence[str], now: float, otherwise: Unavailable
) -> list[str]:
    """The keys for which some wait beyond now; who else waits for these is told ``otherwise``."""
    found = []
    for key in keys:
        sharing = calls[key]
        later = tuple(call for call in sharing if latest_deadline((call,)) > now)
        if later:
            found.append(key)
            calls[key] = later
            for call in sharing:
                if call not in later:
                    call.deliver(key, otherwise)
    return found


class Loaded(msgspec.Struct, frozen=True):
    """An outcome for every key asked, and which keys were read on behalf of another caller."""

    outcomes: Mapping[str, Outcome]
    joined: set[str]


def ended(read: asyncio.Task[Mapping[str, Finding]]) -> tuple[Mapping[str, Finding], Unavailable]:
    """What a read has found, and why there is nothing for its other keys.

    An error that nobody foresaw is the event loop's to report.
    """
    if read.cancelled():
        return {}, CLOSING
    error = read.exception()
    if error is None:
        return read.result(), UNCHECKED
    if isinstance(error, Unavailable):
        return {}, error
    read.get_loop().call_exception_handler(
        {"message": "look-up failed", "exception": error, "task": read}
    )
    return {}, _FAILED


def settle(
    calls: dict[str, Calls],
    keys: Sequence[str],
    found: Mapping[str, Finding],
    otherwise: Unavailable,
) -> None:
    """Give each caller the outcomes of its keys: ``otherwise`` for those not found."""
    outcomes: Mapping[str, Outcome] = found
    if len(found) != len(keys) or not all(map(found.__contains__, keys)):
        outcomes = {key: found.get(key, otherwise) for key in keys}
    waiting = list(map(calls.pop, keys))
    first = waiting[0]
    bulk = [call for call in first if isinstance(call, Call)]
    if len(bulk) == len(first) and waiting.count(first) == len(keys):
        for call in bulk:
            call.deliver_many(outcomes)
        return
    for key, sharing in zip(keys, waiting, strict=True):
        for caller in sharing:
            caller.deliver(key, outcomes[key])
