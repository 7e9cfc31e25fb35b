"""Targets: the databases that look-ups read from. They have no method that writes.

Each target is watched by one task: it keeps a connection for probes, asks the server for its state
every ``Config.probe_interval``, follows its change feed, keeps the channels open, and publishes one
Reading that all findings until the next probe share.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from math import inf
from random import random

import asyncpg
import structlog

from verifier.backoff import backoff
from verifier.clocks import Clocks
from verifier.config import Databases
from verifier.database.connections import (
    FAILURES,
    Role,
    open_reader,
    reason_of,
    within,
)
from verifier.ledger.changes.follower import Changes, Follower
from verifier.ledger.lookup.channels import Channel, Channels, Rows
from verifier.ledger.lookup.history import History
from verifier.ledger.lookup.hosts import single_hosts
from verifier.ledger.lookup.observer import Observer
from verifier.ledger.lookup.probes import Probe
from verifier.state import Live, Position, Reading

log = structlog.get_logger()

# The state of a server of which nothing is known to date it by.
UNDATED = -inf


class Target(ABC):
    """One database to read from; what a probe of it proves is said by its role (roles.py).

    ``serving`` is true from the first successful probe with open channels until a probe or a
    connection fails. ``reading`` is what findings carry; None before the first probe.
    ``settling`` says that it was too far behind a moment ago.
    """

    role: Role

    def __init__(
        self,
        name: str,
        dsn: str,
        size: int,
        history: History,
        config: Databases,
        clocks: Clocks,
        oldest: Callable[[float], float],
        freed: Callable[[], None],
        changed: Callable[[Target], None],
        memory: Changes,
        jitter: Callable[[], float] = random,
    ) -> None:
        self.name = name
        self.serving = self.settling = False
        self._settling_probes = 0
        self.reason = "starting"
        self.reading: Reading | None = None
        self.probe: Probe | None = None
        self._history = history
        self._config = config
        self._clocks = clocks
        self._clock = clocks.steady
        self._oldest = oldest
        self._changed = changed
        self._memory = memory
        self._jitter = jitter
        self._observer = Observer(single_hosts(dsn), self.role, history, config)
        self._follower: Follower | None = None
        self._live = Live()
        self._wake = asyncio.Event()
        self._channels = Channels(self._connect, size, freed, self._wake.set)
        self._filling: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        # Used for every query, so without anything in between.
        self.take = self._channels.take
        self.free = self._channels.free
        self.busy = self._channels.busy

    def lag(self, current: float) -> tuple[int, float] | None:
        """How far behind the primary's newest position: bytes of log and seconds.

        ``current`` is the moment (steady clock) that a state without lag would have. Who has passed
        the position has no lag, however long ago the last change was. None while that is unknown.
        """
        newest = self._history.newest
        if self.probe is None or self.reading is None or newest is None:
            return None
        if self.reading.as_of == UNDATED:
            return None
        behind = max(0, newest.lsn - self.probe.lsn)
        return behind, max(0.0, current - self.reading.as_of) if behind else 0.0

    @property
    def secret(self) -> bytes:
        """The key that signs consistency tokens, empty before the database was read."""
        return self._observer.secret

    @property
    def open_for(self) -> float:
        """Seconds for which some transaction has been open (``Follower.open_for``)."""
        return 0.0 if self._follower is None else self._follower.open_for(self._clock())

    def start(self) -> None:
        """Begin to watch."""
        self._watching = asyncio.create_task(self._watch())
        self._watching.add_done_callback(self._watched)

    async def close(self) -> None:
        """Stop watching and drop all connections; look-ups under way become Unavailable."""
        for task in (self._watching, self._filling):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        self.serving, self.reason = False, "closing"
        self._channels.close()

    def probe_soon(self) -> None:
        """Have the next probe now instead of after the interval."""
        self._wake.set()

    async def fetch(self, channel: Channel, keys: Sequence[str], deadline: float) -> Rows:
        """Rows of these keys by a channel from ``take``. Raises Unavailable."""
        return await self._channels.fetch(channel, keys, deadline)

    def give_back(self, channel: Channel) -> None:
        """Return a channel from ``take`` that was not used."""
        self._channels.give_back(channel)

    def sweep(self, now: float) -> None:
        """End look-ups that are late. A server that lets them be late does not serve."""
        if self._channels.sweep(now):
            self._out("timeout")

    @abstractmethod
    def _judge(self, probe: Probe, lost_ground: bool) -> float:
        """The moment as of which the server's state is known, from a probe.

        ``lost_ground`` says that nothing known before holds. Raises ValueError with the reason
        when the server has not the role that it should have.
        """

    async def _connect(self) -> asyncpg.Connection:
        return await open_reader(self._observer.host, self._config)

    async def _watch(self) -> None:
        failures = 0
        interval = self._config.probe_interval
        try:
            while True:
                try:
                    await self._look_twice()
                except FAILURES as error:
                    self._out(reason_of(error), str(error))
                except ValueError as error:
                    self._out(str(error))
                self._history.witness(self.name)
                if self.serving or self._filling is not None:
                    failures, pause = 0, interval
                else:
                    failures += 1
                    pause = backoff(
                        failures, interval, self._config.reconnect_pause, self._jitter()
                    )
                await within(self._wake, pause)
        finally:
            self._observer.drop()

    async def _look_twice(self) -> None:
        """Probe, and once more when replay cancelled that: it says nothing against the server."""
        try:
            await self._look()
        except asyncpg.SerializationError:
            await self._look()

    async def _look(self) -> None:
        """Probe once, hear of changes, and see to the channels.

        Raises what the database raises, and ValueError.
        """
        observer = self._observer
        with ExitStack() as undo:
            undo.callback(observer.drop)
            connection, anew = await observer.connect()
            probe = await observer.probe(self._clock(), anew=anew)
            if self.role == "primary":
                # A replica may know of a failover that has left this server behind.
                await self._history.heard()
            previous = observer.previous
            lost_ground = previous is None or previous.lsn > probe.lsn
            as_of = self._judge(probe, lost_ground)
            # The position first: what has passed it is visible to the look that comes after.
            await self._follow(connection, anew=anew or lost_ground)
            undo.pop_all()
        self.probe = observer.previous = probe
        self._publish(as_of, probe)
        self._channels.prove(observer.identity)
        if self._channels.lacking > 0 and self._filling is None:
            self._filling = asyncio.create_task(self._fill())
        if self._channels.proven:
            self._in()
        elif self.serving:
            self._out("no_channels")
        self._changed(self)

    async def _follow(self, connection: asyncpg.Connection, *, anew: bool) -> None:
        """Have memory drop what has changed here since the last look.

        After a new connection the change log is followed from now on: a server whose processes had
        to be started again, or a database that was put in the place of another, may give out
        numbers again that were seen before. What was found before is then believed no more.
        """
        now = self._clock()
        if anew or self._follower is None:
            self._forget()
            self._follower = await Follower.begin(connection, self._config.query_timeout, now)
        if not await self._follower.catch_up(self._memory, now):
            log.warning("change log not followed whole", database=self.name)
            self._forget()

    def _forget(self) -> None:
        self._live.reading = None
        self._live = Live()

    def _publish(self, as_of: float, probe: Probe) -> None:
        watermarks = probe.watermarks
        if self.reading is not None and self.reading.watermarks == watermarks:
            watermarks = self.reading.watermarks
        self.reading = self._live.reading = Reading(
            self.role,
            as_of,
            watermarks,
            self._memory.applied,
            Position(probe.timeline, probe.lsn) if probe.certain else None,
            self._live,
            self._clocks.epoch(),
        )

    async def _fill(self) -> None:
        try:
            await self._channels.fill(self._config.connect_timeout)
        except FAILURES as error:
            log.warning("cannot open look-up connections", database=self.name, said=str(error))
        else:
            # The new channels wait for a probe. After a failure the next try is the next probe's.
            self._wake.set()
        finally:
            self._filling = None

    def _watched(self, watching: asyncio.Task[None]) -> None:
        """A target that nobody watches must not serve; only a mistake in here leads there."""
        if not watching.cancelled():
            self._out("unwatched")
            said = f"the watch over {self.name} ended"
            context = {"message": said, "exception": watching.exception(), "task": watching}
            watching.get_loop().call_exception_handler(context)

    def _in(self) -> None:
        if not self.serving:
            self.serving, self.reason = True, ""
            log.info("database serves", database=self.name, role=self.role)

    def _out(self, reason: str, said: str = "") -> None:
        changed = self.serving or self.reason != reason
        self.serving, self.reason = False, reason
        if changed:
            log.warning("database does not serve", database=self.name, reason=reason, said=said)
            self._changed(self)
