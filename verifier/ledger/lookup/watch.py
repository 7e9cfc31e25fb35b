"""The watch over one database: one task that looks at its server again and again.

A look asks for the server's state, follows its change log, and publishes one reading that all
findings until the next look share. Then it is the target's (targets.py) turn to serve with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, suppress
from random import random
from typing import Protocol

import asyncpg
import structlog

from verifier.backoff import backoff
from verifier.config import Databases
from verifier.database.connections import FAILURES, reason_of, within
from verifier.ledger.lookup.dating import Unfit
from verifier.ledger.lookup.observer import Observer
from verifier.ledger.lookup.readings import Readings
from verifier.ledger.lookup.targets import Target

log = structlog.get_logger()


class Beside(Protocol):
    """What else is followed on a database, over the connection of its watch."""

    async def follow(
        self, connection: asyncpg.Connection, *, anew: bool, timeline: int, as_of: float
    ) -> None:
        """Hear of what has changed since the last look, or of everything ``anew``.

        ``as_of`` (steady clock) is how new the state is at least. Raises what the database raises.
        """


class Watch:
    """Looks at a target's server every ``Databases.probe_interval``, less often while it is gone.

    ``clock`` is the steady one. ``observer``, ``readings`` and what is followed ``beside`` them are
    this watch's alone.
    """

    def __init__(
        self,
        target: Target,
        observer: Observer,
        readings: Readings,
        config: Databases,
        clock: Callable[[], float],
        jitter: Callable[[], float] = random,
        *,
        beside: Beside | None = None,
    ) -> None:
        self.target = target
        self._observer = observer
        self._readings = readings
        self._config = config
        self._clock = clock
        self._jitter = jitter
        self._beside = beside
        self._watching: asyncio.Task[None] | None = None

    @property
    def secret(self) -> bytes:
        """The key that signs consistency tokens, empty before the database was read."""
        return self._observer.secret

    def start(self) -> None:
        """Begin to watch."""
        self._watching = asyncio.create_task(self._watch())
        self._watching.add_done_callback(self._watched)

    async def close(self) -> None:
        """Stop watching and drop all connections; look-ups under way become Unavailable."""
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
        self.target.serving, self.target.reason = False, "closing"
        await self.target.channels.close()

    def look_soon(self) -> None:
        """Have the next look now instead of after the interval."""
        self.target.channels.attention.set()

    async def _watch(self) -> None:
        failures = 0
        target, channels, interval = self.target, self.target.channels, self._config.probe_interval
        try:
            while True:
                try:
                    await self._look_twice()
                except FAILURES as error:
                    target.out(reason_of(error), str(error))
                except Unfit as error:
                    target.out(str(error))
                if target.serving or channels.filling:
                    failures, pause = 0, interval
                else:
                    failures += 1
                    pause = backoff(
                        failures, interval, self._config.reconnect_pause, self._jitter()
                    )
                await within(channels.attention, pause)
        finally:
            self._observer.drop()

    async def _look_twice(self) -> None:
        """Look, and once more when replay cancelled that: it says nothing against the server."""
        try:
            await self._look()
        except asyncpg.SerializationError:
            await self._look()

    async def _look(self) -> None:
        """Look once. Raises what the database raises, and Unfit; then the connection is dropped."""
        observer, readings = self._observer, self._readings
        with ExitStack() as undo:
            undo.callback(observer.drop)
            sight = await observer.look(self._clock())
            # The position first: what has passed it is visible to the look that comes after.
            if not await readings.follow(observer.connection, anew=sight.anew):
                log.warning("change log not followed whole", database=self.target.name)
            if self._beside is not None:
                await self._beside.follow(
                    observer.connection,
                    anew=sight.anew,
                    timeline=sight.probe.timeline,
                    as_of=sight.as_of,
                )
            undo.pop_all()
        reading = readings.publish(sight)
        self.target.found(sight, reading, observer.identity, readings.open_for)

    def _watched(self, watching: asyncio.Task[None]) -> None:
        """A target that nobody watches must not serve; only a mistake in here leads there."""
        if not watching.cancelled():
            self.target.out("unwatched")
            said = f"the watch over {self.target.name} ended"
            context = {"message": said, "exception": watching.exception(), "task": watching}
            watching.get_loop().call_exception_handler(context)
