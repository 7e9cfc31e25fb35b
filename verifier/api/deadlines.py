"""Deadlines of many connections that began together: few of them are kept at a time."""

from __future__ import annotations

import asyncio
from typing import Protocol

# How many are told in one round of the event loop: 0.3 ms.
_AT_ONCE = 16


class Late(Protocol):
    """What has a deadline."""

    def is_late(self) -> None:
        """Called when it has passed."""


class Deadlines:
    """All of them ``seconds`` from when they were set, so that the oldest is the next.

    With a timer for each, a thousand that were set in one moment would be told in one round of the
    loop, while others wait.
    """

    def __init__(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        self._seconds = seconds
        self._loop = loop
        self._due: dict[Late, float] = {}
        self._timer: asyncio.Handle | None = None

    def set(self, member: Late) -> None:
        """Set a deadline, in place of an earlier one."""
        due = self._loop.time() + self._seconds
        self._due.pop(member, None)
        self._due[member] = due
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._look)

    def drop(self, member: Late) -> None:
        """Drop a deadline, if there is one."""
        self._due.pop(member, None)

    def _look(self) -> None:
        now = self._loop.time()
        for _ in range(_AT_ONCE):
            if not self._due:
                self._timer = None
                return
            member, due = next(iter(self._due.items()))
            if due > now:
                self._timer = self._loop.call_at(due, self._look)
                return
            del self._due[member]
            member.is_late()
        self._timer = self._loop.call_soon(self._look)
