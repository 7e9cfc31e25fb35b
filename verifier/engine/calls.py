"""Calls: who waits for keys that are being read, and what they get."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from verifier.errors import Unavailable
from verifier.wire.records import Finding

Outcome = Finding | Unavailable


class Call:
    """One caller: what it has got so far, and a future for when nothing is open any more."""

    __slots__ = ("began", "future", "joined", "open", "outcomes")

    def __init__(self, future: asyncio.Future[None], began: float) -> None:
        self.future = future
        self.began = began
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

    __slots__ = ("future",)

    def __init__(self, future: asyncio.Future[Outcome]) -> None:
        self.future = future

    def deliver(self, outcomes: Mapping[str, Outcome]) -> None:
        """Take the outcome of its key."""
        if not self.future.done():
            (outcome,) = outcomes.values()
            self.future.set_result(outcome)


Calls = tuple[Call | Single, ...]


class Loaded(msgspec.Struct, frozen=True):
    """An outcome for every key asked, and which keys were read on behalf of another caller."""

    outcomes: Mapping[str, Outcome]
    joined: set[str]
