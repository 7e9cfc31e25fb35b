"""Fleet: the primary and its replicas, watched, and whose channel the next look-up gets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from verifier.clocks import Clocks
from verifier.config import ChangeLog, Databases
from verifier.database.connections import Role
from verifier.database.hosts import single_hosts
from verifier.database.scouts import Scouts, scouted
from verifier.database.timelines import Timelines
from verifier.errors import ConfigError, Unavailable
from verifier.ledger.changes.follower import Changes
from verifier.ledger.lookup.channels import Channels
from verifier.ledger.lookup.choice import choose, choose_at_least
from verifier.ledger.lookup.dating import UNDATED, Dating
from verifier.ledger.lookup.gate import Gate, Grant, Wish
from verifier.ledger.lookup.observer import Observer
from verifier.ledger.lookup.readings import Readings
from verifier.ledger.lookup.status import Status, lag_of, report
from verifier.ledger.lookup.targets import Target
from verifier.ledger.lookup.watch import Beside, Watch
from verifier.metrics import Metrics
from verifier.state import Position, Reading


class Fleet:
    """Watches the databases; one per event loop.

    ``memory`` hears of changes; ``oldest`` says which state a question that starts at a moment (of
    the steady clock) may rest on. ``change_log`` bounds what is followed. ``slots`` is how many
    look-ups may usefully run at once. ``timelines`` are what the servers have shown; a writer
    beside this shares them. ``beside`` makes what else is followed on each database.
    """

    def __init__(
        self,
        config: Databases,
        change_log: ChangeLog,
        metrics: Metrics,
        clocks: Clocks,
        memory: Changes,
        oldest: Callable[[float], float],
        beside: Callable[[], Beside | None] = lambda: None,
    ) -> None:
        if not config.primary_dsn:
            raise ConfigError("VERIFIER_PRIMARY_DSN is not set; expected the DSN of the primary")
        self._config = config
        self._change_log = change_log
        self._metrics = metrics
        self._clocks = clocks
        self._clock = clocks.steady
        self._memory = memory
        self._oldest = oldest
        self._beside = beside
        count = len(config.replica_dsns)
        self.slots = max(1, count) * config.read_connections
        names = [f"replica-{number}" for number in range(1, count + 1)]
        hosts = scouted((config.primary_dsn, *config.replica_dsns))
        self.timelines = Timelines((*names, *hosts))
        self._scouts = Scouts(hosts, self.timelines, config)
        self.dating = Dating(self.timelines)
        self._reads = Gate(self._take, self.slots)
        self._reads_at_least = Gate(self._take, self.slots, late="behind")
        size = config.primary_connections if count else config.read_connections
        self._watches = [
            self._watch("primary", "primary", config.primary_dsn, size),
            *(
                self._watch(name, "replica", dsn, config.read_connections)
                for name, dsn in zip(names, config.replica_dsns, strict=True)
            ),
        ]
        self.targets = [watch.target for watch in self._watches]
        self.primary, *self.replicas = self.targets
        self._serves = asyncio.Event()
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Watch the databases; return when one can answer, or after a bound: readiness tells."""
        self._scouts.start()
        for watch in self._watches:
            watch.start()
        self._sweeping = asyncio.create_task(self._sweep())
        # The primary waits for the first word of each replica, and then needs as long itself.
        bound = 2 * (self._config.connect_timeout + self._config.query_timeout)
        with suppress(TimeoutError):
            async with asyncio.timeout(bound):
                await self._serves.wait()

    async def close(self) -> None:
        """End look-ups under way, which become Unavailable, and drop all connections."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeping
        await self._scouts.close()
        for watch in self._watches:
            await watch.close()
        self._sweep_gates()

    def serving(self) -> bool:
        """Whether some database takes look-ups."""
        return any(target.serving for target in self.targets)

    def trusted(self) -> bool:
        """Whether some database shows a state that a question asked now may rest on."""
        return any(map(self._trusted, self.targets))

    def secret(self) -> bytes:
        """The key that signs consistency tokens. Raises Unavailable before a database was read."""
        for watch in self._watches:
            if watch.secret:
                return watch.secret
        raise Unavailable("no_database")

    def status(self) -> Status:
        """What is known of the regions and the databases."""
        now, current = self._clocks.wall(), self._current()
        return report(self.targets, self.dating, current, now, trusted=self.trusted())

    def is_fresh(self, reading: Reading) -> bool:
        """Whether a question asked now may rest on a state."""
        return reading.is_fresh(self._oldest(self._clock()))

    def expect(self, position: Position) -> None:
        """Have the primary looked at now, unless some database is known to show a position."""
        readings = (target.reading for target in self.targets)
        if not any(reading is not None and reading.shows(position) for reading in readings):
            self._watches[0].look_soon()

    def enter(self, deadline: float, wish: Wish) -> Awaitable[Grant]:
        """A channel of the best database for a wish, taken from its target.

        Raises Unavailable, at the latest at the deadline (steady clock): ``overloaded``, or
        ``behind`` where a position is wished for.
        """
        gate = self._reads if wish.at_least is None else self._reads_at_least
        return gate.enter(deadline, wish)

    def looked(self, target: Target) -> None:
        """A look has found a target."""
        sight, reading = target.sight, target.reading
        assert sight is not None
        assert reading is not None
        if target is not self.primary and sight.measured:
            target.settle(fresh=reading.is_fresh(self._oldest(sight.probe.began)))
        self._metrics.open_transaction_seconds.labels(target.name).set(target.open_for)
        self.changed(target)
        if self._trusted(target):
            # A replica that serves but cannot be dated yet would answer "unavailable".
            self._serves.set()
        if target is self.primary:
            for watch in self._watches[1:]:
                undated = watch.target.reading
                if undated is not None and undated.as_of == UNDATED:
                    # Its first look came before the primary's, so it could not be dated.
                    watch.look_soon()

    def changed(self, target: Target) -> None:
        """A target serves, or does not; somebody may wait for its state, or in vain."""
        metrics = self._metrics
        metrics.target_serving.labels(target.name, target.role).set(target.serving)
        if target is not self.primary:
            lag = lag_of(target, self.dating, self._current())
            if lag is not None:
                metrics.target_lag_bytes.labels(target.name).set(lag[0])
                metrics.target_lag_seconds.labels(target.name).set(lag[1])
        self._wake()

    def _watch(self, name: str, role: Role, dsn: str, size: int) -> Watch:
        """The watch over one database, for which ``size`` channels are kept open."""
        config, clocks = self._config, self._clocks
        observer = Observer(name, single_hosts(dsn), role, self.dating, config)
        channels = Channels(name, observer.another, size, config.connect_timeout, self._wake)
        readings = Readings(role, self._memory, clocks, config.query_timeout, self._change_log)
        target = Target(name, role, channels, self)
        beside = self._beside()
        return Watch(target, observer, readings, config, clocks.steady, beside=beside)

    def _take(self, wish: Wish) -> Grant | None:
        oldest = self._oldest(self._clock())
        if wish.at_least is None:
            return choose(self.primary, self.replicas, oldest, wish.avoid)
        if not self.serving():
            raise Unavailable("no_database")
        # After a failure the one that has every position comes first.
        targets = (*self.replicas, self.primary)
        if wish.avoid is not None:
            targets = targets[::-1]
        return choose_at_least(targets, oldest, wish.at_least, wish.avoid)

    def _trusted(self, target: Target) -> bool:
        return target.serving and target.reading is not None and self.is_fresh(target.reading)

    def _current(self) -> float:
        """The moment of a state without lag: that of the primary's last probe, while it has any."""
        reading = self.primary.reading
        return reading.as_of if reading is not None and self.primary.serving else self._clock()

    def _wake(self) -> None:
        self._reads.wake()
        self._reads_at_least.wake()

    async def _sweep(self) -> None:
        # A late query ends within a tick of its deadline.
        tick = self._config.probe_interval / 4
        while True:
            await asyncio.sleep(tick)
            # Whatever kept this process busy, answers that have arrived meanwhile are not late.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            now = self._clock()
            for target in self.targets:
                target.sweep(now)
            self._sweep_gates()

    def _sweep_gates(self) -> None:
        now = self._clock()
        self._reads.sweep(now)
        self._reads_at_least.sweep(now)
