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
from random import random

import asyncpg
import structlog

from verifier.config import Config
from verifier.invoice.record import Live, Position, Reading
from verifier.ledger.changes import Changes, Follower
from verifier.ledger.channels import Channel, Channels, Rows
from verifier.ledger.connections import FAILURES, Role, backoff, open_reader, reason_of, within
from verifier.ledger.probes import SETTLING_PROBES, History, Probe, Prober, cluster_of

log = structlog.get_logger()

# A feed that was not heard for longer is not taken up again: it is kept for an hour only.
LONGEST_GAP = 600.0


class Target(ABC):
    """One database to read from; ``Primary`` and ``Replica`` say what a probe of it proves.

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
        config: Config,
        clock: Callable[[], float],
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
        self.secret = b""
        self._dsn = dsn
        self._history = history
        self._config = config
        self._clock = clock
        self._changed = changed
        self._memory = memory
        self._jitter = jitter
        self._follower: Follower | None = None
        self._live = Live()
        self._wake = asyncio.Event()
        self._channels = Channels(self._connect, size, freed, self._wake.set)
        self._connection: asyncpg.Connection | None = None
        self._prober: Prober
        self._identity = ""
        self._filling: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        # Used for every query, so without anything in between.
        self.take = self._channels.take
        self.free = self._channels.free
        self.busy = self._channels.busy

    def lag(self, current: float) -> tuple[int, float] | None:
        """How far behind the primary's newest position: bytes of log and seconds.

        ``current`` is the moment that a state without lag would have. Who has passed the position
        has no lag, however long ago the last change was. None while that is unknown.
        """
        newest = self._history.newest
        if self.probe is None or self.reading is None or newest is None or not self.reading.as_of:
            return None
        behind = max(0, newest.lsn - self.probe.lsn)
        return behind, max(0.0, current - self.reading.as_of) if behind else 0.0

    @property
    def _cluster(self) -> str:
        return cluster_of(self._identity)

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
        return await open_reader(self._dsn, self.role, self._config)

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
                if self.serving or self._filling is not None:
                    failures, pause = 0, interval
                else:
                    failures += 1
                    pause = backoff(failures, interval, self._jitter())
                await within(self._wake, pause)
        finally:
            self._drop_connection()

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
        previous = self.probe
        connected = self._connection is not None and not self._connection.is_closed()
        if not connected:
            async with asyncio.timeout(self._config.connect_timeout):
                self._connection = await self._connect()
        connection = self._connection
        assert connection is not None
        with ExitStack() as undo:
            # Cancelling too: nobody knows what the connection would be in the middle of.
            undo.callback(self._drop_connection)
            async with asyncio.timeout(self._config.query_timeout):
                if not connected:
                    self._prober = await Prober.over(connection)
                    if self._prober.identity != self._identity:
                        previous = self.probe = None
                    self._identity, self.secret = self._prober.identity, self._prober.secret
                probe = await self._prober.probe(self._clock())
            lost_ground = previous is None or previous.lsn > probe.lsn
            as_of = self._judge(probe, lost_ground)
            # The position first: what has passed it is visible to the look that comes after.
            await self._follow(connection, anew=lost_ground, connected=connected)
            undo.pop_all()
        self.probe = probe
        self._publish(as_of, probe)
        self._channels.prove(self._identity)
        if self._channels.lacking > 0 and self._filling is None:
            self._filling = asyncio.create_task(self._fill())
        if self._channels.proven:
            self._in()
        self._changed(self)

    async def _follow(self, connection: asyncpg.Connection, *, anew: bool, connected: bool) -> None:
        """Have memory drop what has changed here since the last look.

        A server that was replaced, or that has fallen back, is followed anew: what was found on
        it before is believed no more.
        """
        last = self.reading.as_of if self.reading is not None else 0.0
        if self._follower is None or anew or self._clock() - last > LONGEST_GAP:
            self._live.reading = None
            self._live = Live()
            self._follower = Follower(self._config.query_timeout)
            await self._follower.begin(connection)
        elif not connected:
            await self._follower.resume(connection)
        await self._follower.catch_up(self._memory)

    def _publish(self, as_of: float, probe: Probe) -> None:
        watermarks = probe.watermarks
        if self.reading is not None and self.reading.watermarks == watermarks:
            watermarks = self.reading.watermarks
        self.reading = self._live.reading = Reading(
            self.role,
            as_of,
            watermarks,
            self._memory.applied,
            Position(probe.timeline, probe.lsn),
            self._live,
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

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

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


class Primary(Target):
    """The primary: what it shows is current, and its positions date the replicas' states."""

    role = "primary"

    def _judge(self, probe: Probe, lost_ground: bool) -> float:
        if probe.in_recovery:
            raise ValueError("in_recovery")
        self._history.add(probe, self._cluster)
        return probe.began


class Replica(Target):
    """A replica: its state is dated by the primary's positions that it has passed."""

    role = "replica"

    def _judge(self, probe: Probe, lost_ground: bool) -> float:
        if not probe.in_recovery:
            raise ValueError("not_a_replica")
        if self._history.cluster not in ("", self._cluster):
            raise ValueError("other_cluster")
        known = 0.0 if lost_ground or self.reading is None else self.reading.as_of
        as_of = max(known, self._history.covered(probe.timeline, probe.lsn) or 0.0)
        # Before the primary's first position nothing is known of its lag.
        if self._history.newest is not None:
            lags = as_of < probe.began - self._config.max_staleness
            self._settling_probes = SETTLING_PROBES if lags else max(0, self._settling_probes - 1)
            self.settling = self._settling_probes > 0
        return as_of
