"""Bulk work takes turns: however many batches and streams run, others wait for one piece of one."""

from __future__ import annotations

from asyncio import Lock, get_running_loop, sleep
from collections.abc import Awaitable, Callable

# The shortest and the longest time, in seconds, of a piece of work that is cut by the clock.
_PIECE_SECONDS = 0.0001
_LONGEST_PIECE = 0.0005
# Beside other work that takes long, a piece may take this share of its time.
_SHARE = 1 / 8

# Rounds of the event loop that a single question takes from its arrival to its answer.
_ROUNDS = 4
# Once the rounds took this long, the loop is full of questions, and bulk must go on beside them.
_ROUNDS_SECONDS = 0.0005


async def _at_once() -> None:
    """Wait for nothing."""


class Turns:
    """Shared by all bulk work of a process; first come, first served.

    ``calm`` returns when others do not suffer; one at a time waits for it.
    """

    def __init__(self, calm: Callable[[], Awaitable[None]] = _at_once) -> None:
        self._calm = calm
        self._lock = Lock()
        self._waiting = 0

    async def next(self) -> float:
        """Wait for a turn, then let the event loop do all other work that is ready.

        Returns the seconds that this other work took, without the wait for the turn.

        With a bare sleep(0), each of n batches would do a piece in every round of the loop, and a
        single question would wait for n pieces in each of its rounds. So the more batches wait, the
        more rounds lie between two pieces, as long as the rounds are short.
        """
        self._waiting += 1
        try:
            async with self._lock:
                await self._calm()
                clock = get_running_loop().time
                began = clock()
                await sleep(0)
                for _ in range(1, min(self._waiting, _ROUNDS)):
                    if clock() - began >= _ROUNDS_SECONDS:
                        break
                    await sleep(0)
                return clock() - began
        finally:
            self._waiting -= 1


class Pace:
    """Cuts long work into pieces with a turn each; the first piece begins when this is made."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._clock = get_running_loop().time
        self._over = self._clock() + _PIECE_SECONDS

    async def give_way(self) -> None:
        """Yield to others, and wait for the next turn, if this piece has taken long enough."""
        if self._clock() >= self._over:
            others = await self._turns.next()
            piece = min(max(_PIECE_SECONDS, _SHARE * others), _LONGEST_PIECE)
            self._over = self._clock() + piece
