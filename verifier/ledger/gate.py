"""The gate: who gets the next free channel while there is none.

The engine starts no more look-ups than there should be channels, so callers wait here only while
databases are down or slow. Waiting is bounded in number and in time, without a timer per caller.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from verifier.errors import Unavailable
from verifier.ledger.channels import Channel
from verifier.ledger.targets import Target

Grant = tuple[Target, Channel]
# Called with a target to avoid. Returns None while all channels are taken, and raises Unavailable
# when there is nothing to wait for.
Take = Callable[[Target | None], Grant | None]


class Gate:
    """Hands out what ``take`` gives, first come first served; at most ``limit`` callers wait."""

    def __init__(self, take: Take, limit: int) -> None:
        self._take = take
        self._limit = limit
        self._turns: deque[tuple[float, asyncio.Future[None]]] = deque()

    async def enter(self, deadline: float, avoid: Target | None = None) -> Grant:
        """A channel, taken from its target. Raises Unavailable, at the latest at the deadline."""
        grant = None if self._turns else self._take(avoid)
        while grant is None:
            if len(self._turns) >= self._limit:
                raise Unavailable("overloaded")
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._turns.append((deadline, turn))
            try:
                await turn
            except asyncio.CancelledError:
                # The turn that nobody takes is the next one's.
                if not turn.cancelled():
                    self.wake()
                raise
            grant = self._take(avoid)
        return grant

    def wake(self) -> None:
        """Let the first who waits try again: something became free."""
        while self._turns:
            _, turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def sweep(self, now: float) -> None:
        """Let all who wait look again, for all may have changed; whose time is over gives up."""
        turns, self._turns = self._turns, deque()
        for deadline, turn in turns:
            if turn.done():
                continue
            if deadline < now:
                turn.set_exception(Unavailable("overloaded"))
            else:
                turn.set_result(None)
