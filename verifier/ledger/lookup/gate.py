"""The gate: who gets the next free channel while there is none.

The engine starts no more look-ups than there should be channels, so callers wait here only while
databases are down or slow. Waiting is bounded in number and in time, without a timer per caller.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import msgspec

from verifier.errors import Unavailable
from verifier.ledger.lookup.channels import Channel
from verifier.ledger.lookup.targets import Target
from verifier.state import Position

Grant = tuple[Target, Channel]


class Wish(msgspec.Struct, frozen=True):
    """What a look-up asks of its database: not to be that one again, to show a position."""

    avoid: Target | None = None
    at_least: Position | None = None


# Returns None while there is no channel, and raises Unavailable when there is nothing to wait for.
Take = Callable[[Wish], Grant | None]

_ANY = Wish()


class _Waiter(msgspec.Struct):
    grant: asyncio.Future[Grant]
    deadline: float
    wish: Wish


class Gate:
    """Hands out what ``take`` gives, first come first served; at most ``limit`` callers wait.

    ``late`` is the reason that callers hear who have waited until their deadline.
    """

    def __init__(self, take: Take, limit: int, late: str = "overloaded") -> None:
        self._take = take
        self._limit = limit
        self._late = late
        self._waiters: deque[_Waiter] = deque()

    async def enter(self, deadline: float, wish: Wish = _ANY) -> Grant:
        """A channel, taken from its target. Raises Unavailable, at the latest at the deadline."""
        if self._waiters:
            # Those who wait may want what this caller does not, and some have given up.
            self._serve(None)
        grant = self._take(wish)
        if grant is not None:
            return grant
        if len(self._waiters) >= self._limit:
            raise Unavailable("overloaded")
        future: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        self._waiters.append(_Waiter(future, deadline, wish))
        try:
            return await future
        except asyncio.CancelledError:
            # It may have been granted just before.
            if not future.cancelled() and future.exception() is None:
                target, channel = future.result()
                target.give_back(channel)
            raise

    def wake(self) -> None:
        """Serve those who wait, in their order, as far as there are channels."""
        if self._waiters:
            self._serve(None)

    def sweep(self, now: float) -> None:
        """Serve as ``wake`` does; then those give up whose deadline has passed."""
        if self._waiters:
            self._serve(now)

    def _serve(self, now: float | None) -> None:
        # Each is given its channel here: one that was only woken would find it taken by a newcomer.
        waiters, self._waiters = self._waiters, deque()
        for waiter in waiters:
            if waiter.grant.done():
                continue
            try:
                grant = self._take(waiter.wish)
            except Unavailable as error:
                waiter.grant.set_exception(error)
                continue
            if grant is not None:
                waiter.grant.set_result(grant)
            elif now is not None and waiter.deadline < now:
                waiter.grant.set_exception(Unavailable(self._late))
            else:
                self._waiters.append(waiter)
