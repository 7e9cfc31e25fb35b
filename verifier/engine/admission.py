"""Admission: what would be answered too late is refused while that is still cheap.

A worker whose event loop is saturated slows down for everybody: each round of the loop takes in
what has arrived during the last one, is longer for it, and all are answered late. So the time for
which what arrives waits for its round, or for its client to be heard again, is watched as
Controlled Delay (CoDel; Nichols and Jacobson, RFC 8289) watches that of a queue: it *stands* when
it was not once below ``target`` within ``interval``. A burst, or a pause of the machine, is worked
off before that. While the delay stands, of every time as long as it questions are taken in for
``target`` seconds and others are not, so that those who are taken in wait for little more, and the
rest know at once. Bulk is refused as a whole.

Bulk that was taken in before gives way much earlier: after a delay that people would notice, its
next piece waits until there is none (``calm``), though never for long, so that it always goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from random import random

from verifier.errors import Unavailable

# Seconds between two looks at the delay.
_LOOK = 0.01

# Bulk goes on after a delay below so many seconds, or after so many looks.
_SHORT, _LOOKS = 0.002, 3

# Who is refused comes again after one to so many seconds, at random, so that not all come at once.
_LONGEST_RETRY = 3


class Admission:
    """Whether there is time for one more; one per event loop.

    ``target`` and ``interval`` are in seconds, as is ``clock``, a steady one.
    """

    def __init__(self, target: float, interval: float, clock: Callable[[], float]) -> None:
        self._target = target
        self._interval = interval
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        # The longest that a client has waited to be heard since the last look.
        self._longest = 0.0
        # Since when the delay has not been below the target.
        self._stands_since: float | None = None
        # Seconds, at the last look: for which the event loop was late, and the whole delay; and who
        # waits for that to be short, for so many looks more.
        self.late = 0.0
        self.delay = 0.0
        # Whether single questions have come since that look, and did before it.
        self._asked = self._people = False
        self._waiting: asyncio.Future[None] | None = None
        self._patience = 0
        # Since when questions are taken in, while a queue stands.
        self._began = -inf
        self.is_full = False

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch a loop."""
        self._loop = loop
        self._look_again()

    def stop(self) -> None:
        """Watch no more, and admit everything."""
        if self._timer is not None:
            self._timer.cancel()
        self.is_full = False
        self.late = self.delay = 0.0
        self._go_on()

    def waited(self, seconds: float) -> None:
        """A client has waited for so long to be heard again."""
        self._longest = max(self._longest, seconds)

    def admits(self) -> bool:
        """Whether a single question that has arrived now is taken in."""
        self._asked = True
        if not self.is_full:
            return True
        now = self._clock()
        if now - self._began >= self.delay:
            self._began = now
        return now - self._began < self._target

    def check_bulk(self) -> None:
        """Raise Unavailable while there is no time for bulk."""
        if self.is_full:
            raise self.refusal()

    async def calm(self) -> None:
        """Wait for a short delay, a few looks at most, while people ask; one caller at a time."""
        if self.delay < _SHORT or not (self._people or self._asked):
            return
        assert self._loop is not None
        self._patience = _LOOKS
        self._waiting = self._loop.create_future()
        await self._waiting

    @property
    def retry_after(self) -> int:
        """Seconds after which one who is refused may come again."""
        return 1 + int(random() * _LONGEST_RETRY)  # noqa: S311 - no secret

    def refusal(self) -> Unavailable:
        """What a handler raises for one who is refused."""
        return Unavailable("overloaded", self.retry_after)

    def _look_again(self) -> None:
        assert self._loop is not None
        self._due = self._clock() + _LOOK
        self._timer = self._loop.call_later(_LOOK, self._look)

    def _look(self) -> None:
        now = self._clock()
        self.late = now - self._due
        self.delay, self._longest = max(self.late, self._longest), 0.0
        self._people, self._asked = self._asked, False
        self._patience -= 1
        if self.delay < _SHORT or self._patience <= 0:
            self._go_on()
        if self.delay < self._target:
            self._stands_since = None
            self.is_full = False
        elif self._stands_since is None:
            self._stands_since = now
        else:
            self.is_full = now - self._stands_since >= self._interval
        self._look_again()

    def _go_on(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
