"""Calls: who waits for keys that are being read, until when, and what they get."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from math import inf

import msgspec

from verifier.errors import Unavailable
from verifier.wire.records import Finding

Outcome = Finding | Unavailable


class Call:
    """One caller: its outcomes so far, and a future for when none of its keys is open any more.

    ``began`` and ``deadline`` are moments of the steady clock.
    """

    __slots__ = ("began", "deadline", "future", "joined", "open", "outcomes")

    def __init__(self, future: asyncio.Future[None], began: float, deadline: float) -> None:
        self.future = future
        self.began = began
        self.deadline = deadline
        self.outcomes: dict[str, Outcome] = {}
        self.joined: set[str] = set()
        self.open = 0

    def deliver(self, outcomes: Mapping[str, Outcome]) -> None:
        """Take the outcomes of some of its keys."""
        self.outcomes.update(outcomes)
        self.open -= len(outcomes)
        if not self.open and not self.future.done():
            self.future.set_result(None)


class Single:
    """A caller with one key; the future brings its outcome."""

    __slots__ = ("deadline", "future")

    def __init__(self, future: asyncio.Future[Outcome], deadline: float) -> None:
        self.future = future
        self.deadline = deadline

    def deliver(self, outcomes: Mapping[str, Outcome]) -> None:
        """Take the outcome of its key."""
        if not self.future.done():
            (outcome,) = outcomes.values()
            self.future.set_result(outcome)


class Told:
    """A caller with one key who is called back, in a turn of the event loop of its own.

    ``tell`` gets the outcome and whether another caller's read brought it. Such a caller never goes
    before its outcome.
    """

    __slots__ = ("deadline", "joined", "loop", "tell")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        tell: Callable[[Outcome, bool], object],
        deadline: float,
    ) -> None:
        self.loop = loop
        self.tell = tell
        self.deadline = deadline
        self.joined = False

    def deliver(self, outcomes: Mapping[str, Outcome]) -> None:
        """Take the outcome of its key. An error of ``tell`` concerns no other caller."""
        (outcome,) = outcomes.values()
        self.loop.call_soon(self.tell, outcome, self.joined)


Calls = tuple[Call | Single | Told, ...]


def latest_deadline(calls: Calls) -> float:
    """Until when the last of them waits; minus infinity when all of them are gone."""
    latest = -inf
    for call in calls:
        if call.deadline > latest and (isinstance(call, Told) or not call.future.done()):
            latest = call.deadline
    return latest


class Loaded(msgspec.Struct, frozen=True):
    """An outcome for every key asked, and which keys were read on behalf of another caller."""

    outcomes: Mapping[str, Outcome]
    joined: set[str]
