"""The oracle: which answers to a question were right at which moment.

A writer notes when it sends a change and when that is acknowledged. A state of the ledger may be
seen from the moment that it was sent, whether or not anybody ever heard of it again, and it is over
at the latest when a later one is acknowledged. So an answer to a question that started at ``s`` and
was received at ``r`` is right when it shows a state that was sent before ``r`` and was not over at
``s`` minus the staleness bound. Times are seconds of the monotonic clock, which processes share.
The fault suite judges by it too.
"""

from __future__ import annotations

from collections.abc import Hashable
from math import inf

import msgspec


class State(msgspec.Struct):
    """What an answer shows while the ledger is in this state."""

    shown: Hashable
    sent: float = -inf
    acknowledged: float = inf


class History:
    """The states that one question has gone through; only one writer at a time adds to it."""

    def __init__(self, shown: Hashable) -> None:
        self.states = [State(shown, acknowledged=-inf)]

    @property
    def newest(self) -> int:
        """The index of the last state that was sent."""
        return len(self.states) - 1

    def send(self, shown: Hashable, now: float) -> State:
        """A change is about to be sent."""
        state = State(shown, now)
        self.states.append(state)
        return state

    def staleness(
        self, shown: Hashable, started: float, received: float, at_least: int = 0
    ) -> float | None:
        """For how long what an answer shows had been over when its question started.

        0 when it was not; None when it was never right, or only in states before ``at_least``.
        """
        least: float | None = None
        over = inf
        for index in range(self.newest, at_least - 1, -1):
            state = self.states[index]
            if state.shown == shown and state.sent <= received:
                stale = max(0.0, started - over)
                least = stale if least is None else min(least, stale)
            over = min(over, state.acknowledged)
        return least
