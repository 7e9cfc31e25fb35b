"""Veil: when a caller is answered who may not know which invoices are there.

To such a caller an invoice that says something else is one that is not there (engine/steps.py).
But memory has the one at once, and the other is asked of the primary first. So what is no match is
told at the end of a period only, the first one after the question, or a later one if that takes
longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import ceil

from verifier.access.callers import Caller


class Veil:
    """Periods of so many ``seconds``; ``clock`` is the steady one."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock

    def of(self, caller: Caller | None) -> Veiled | None:
        """The veil over a question that comes now; None for who may know."""
        if caller is None or caller.explains:
            return None
        return Veiled(self._seconds, self._clock)


class Veiled:
    """One question, or one request of many, under the veil."""

    __slots__ = ("_began", "_clock", "_seconds")

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._began = clock()

    def left(self) -> float:
        """Seconds until the end of the period that is."""
        since = self._clock() - self._began
        return ceil(since / self._seconds) * self._seconds - since

    async def wait(self) -> None:
        """Return at the end of the period."""
        await asyncio.sleep(self.left())
