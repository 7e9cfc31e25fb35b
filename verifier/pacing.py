"""Bulk takes turns: however many batches and streams run, others wait for one piece of one."""

from __future__ import annotations

from asyncio import Lock, get_running_loop, sleep

# A piece whose work is not counted out beforehand ends after so many seconds, at least and at most.
_PIECE_SECONDS = 0.0001
_LONGEST_PIECE = 0.0005
# Where the work of others takes longer than a piece, so much of its time is bulk's.
_SHARE = 1 / 8

# A single question takes so many rounds of the event loop from its arrival to its answer.
_ROUNDS = 4
# Rounds that take longer are full of questions, and bulk has to go on beside them too.
_ROUNDS_SECONDS = 0.0005


class Turns:
    """Shared by all bulk work of a process; first come, first served."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting = 0

    async def next(self) -> float:
        """Return when it is one's turn, and the event loop has been through all other work.

        The seconds that this other work took, without the wait for the turn.

        With a bare sleep(0) each of n batches would do a piece in every round of the loop, and a
        single question would wait for n pieces in each of its rounds. The more of them there are,
        the more rounds lie between two pieces, while they are short.
        """
        self._waiting += 1
        try:
            async with self._lock:
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
    """Cuts one long piece of work into short ones, each of which has a turn of its own.

    The first one is under way when this is made.
    """

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._clock = get_running_loop().time
        self._over = self._clock() + _PIECE_SECONDS

    async def give_way(self) -> None:
        """Wait for the next turn if this one has been long enough."""
        if self._clock() >= self._over:
            others = await self._turns.next()
            piece = min(max(_PIECE_SECONDS, _SHARE * others), _LONGEST_PIECE)
            self._over = self._clock() + piece
