"""Deadlines of many connections: when many expire together, few are handled in each loop round."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

# Members told in one round of the event loop: 0.1 ms, and as much again for what they do.
_AT_ONCE = 4


class Late(Protocol):
    """What has a deadline."""

    def is_late(self) -> None:
        """Called when it has passed."""


class Deadlines:
    """Deadlines ``seconds`` after they were set, so that the one set first expires first.

    With a timer each, a thousand that were set together would all fire in one round of the loop,
    and everybody else would wait.
    """

    def __init__(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        self._seconds = seconds
        self._loop = loop
        # The next one first.
        self._due: OrderedDict[Late, float] = OrderedDict()
        self._timer: asyncio.Handle | None = None

    def set(self, member: Late) -> None:
        """Set a deadline, in place of an earlier one."""
        self._due[member] = self._loop.time() + self._seconds
        self._due.move_to_end(member)
        if self._timer is None:
            self._wait()

    def drop(self, member: Late) -> None:
        """Drop a deadline, if there is one."""
        self._due.pop(member, None)

    def _wait(self) -> None:
        self._timer = self._loop.call_at(next(iter(self._due.values())), self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        late: list[Late] = []
        while self._due and len(late) < _AT_ONCE and next(iter(self._due.values())) <= now:
            late.append(self._due.popitem(last=False)[0])
        if self._due:
            self._wait()
        for member in late:
            member.is_late()
