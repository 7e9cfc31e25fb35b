"""Lookup: identities to findings, from the best database at hand, with the truth about its state.

A key that a replica lacks is asked of the primary once, before anyone says that it is not there.
Absent and unchecked are never mixed up: a key that could not be checked is not in the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Any

from verifier.clocks import Clocks
from verifier.config import Databases
from verifier.errors import ConfigError, Unavailable
from verifier.ledger.changes.follower import Changes
from verifier.ledger.lookup.choice import Read, choose, choose_at_least
from verifier.ledger.lookup.gate import Gate, Grant, Wish
from verifier.ledger.lookup.history import History
from verifier.ledger.lookup.invoices import findings
from verifier.ledger.lookup.roles import Primary, Replica
from verifier.ledger.lookup.scouts import Scouts, scouted
from verifier.ledger.lookup.status import report
from verifier.ledger.lookup.targets import UNDATED, Target
from verifier.metrics import Metrics
from verifier.state import Position, Reading
from verifier.wire.records import Absence, Finding


class Lookup:
    """Reads from the replicas and, where it must, from the primary; one per event loop.

    ``memory`` hears of changes; ``oldest`` says which state a question that starts at a moment (of
    the steady clock) may rest on. ``slots`` is how many fetches may usefully run at once.
    ``history`` is what the servers have shown; a writer beside this shares it.
    """

    def __init__(
        self,
        config: Databases,
        metrics: Metrics,
        clocks: Clocks,
        memory: Changes,
        oldest: Callable[[float], float],
    ) -> None:
        if not config.primary_dsn:
            raise ConfigError("VERIFIER_PRIMARY_DSN is not set; expected the DSN of the primary")
        self._clocks = clocks
        self._clock = clocks.steady
        self._metrics = metrics
        self._query_timeout = config.query_timeout
        self._oldest = oldest
        # A late query ends within a tick of its deadline, and a second try gets two ticks: so
        # nobody waits for longer than query_timeout + probe_interval.
        self._tick = config.probe_interval / 4
        self._grace = config.probe_interval / 2
        # The primary waits for the first word of each replica, and then needs as long itself.
        self._start_bound = 2 * (config.connect_timeout + config.query_timeout)
        count = len(config.replica_dsns)
        self.slots = max(1, count) * config.read_connections
        names = [f"replica-{number}" for number in range(1, count + 1)]
        hosts = scouted((config.primary_dsn, *config.replica_dsns))
        self.history = History((*names, *hosts))
        self._scouts = Scouts(hosts, self.history, config)
        self._reads = Gate(self._take, self.slots)
        self._reads_at_least = Gate(self._take, self.slots, late="behind")

        def watched(kind: type[Target], name: str, dsn: str, size: int) -> Target:
            tell = oldest, self._freed, self._changed, memory
            return kind(name, dsn, size, self.history, config, clocks, *tell)

        self._primary = watched(
            Primary,
            "primary",
            config.primary_dsn,
            config.primary_connections if count else config.read_connections,
        )
        self._replicas = [
            watched(Replica, name, dsn, config.read_connections)
            for name, dsn in zip(names, config.replica_dsns, strict=True)
        ]
        self._targets = [self._primary, *self._replicas]
        self._serves = asyncio.Event()
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Watch the databases; return when one can answer, or after a bound: readiness tells."""
        self._scouts.start()
        for target in self._targets:
            target.start()
        self._sweeping = asyncio.create_task(self._sweep())
        with suppress(TimeoutError):
            async with asyncio.timeout(self._start_bound):
                await self._serves.wait()

    async def close(self) -> None:
        """End look-ups under way, which become Unavailable, and drop all connections."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeping
        await self._scouts.close()
        for target in self._targets:
            await target.close()
        self._sweep_gates()

    def serving(self) -> bool:
        """Whether some database takes look-ups."""
        return any(target.serving for target in self._targets)

    def trusted(self) -> bool:
        """Whether some database shows a state that a question asked now may rest on."""
        return any(
            target.serving and target.reading is not None and self._fresh(target.reading)
            for target in self._targets
        )

    def secret(self) -> bytes:
        """The key that signs consistency tokens. Raises Unavailable before a database was read."""
        for target in self._targets:
            if target.secret:
                return target.secret
        raise Unavailable("no_database")

    def status(self) -> dict[str, Any]:
        """What GET /v1/freshness shows: regions with watermarks, databases with their lag."""
        return report(self._targets, self._current(), self._clocks.wall(), trusted=self.trusted())

    async def fetch_many(self, keys: Sequence[str], deadline: float = inf) -> dict[str, Finding]:
        """A finding for each key that could be checked; raises Unavailable when none could be.

        Takes at most query_timeout + probe_interval; only a second try outlasts ``deadline``.
        """
        read = await self._read(keys, self._reads, None, deadline)
        return await self._completed(keys, read, None)

    async def fetch_at(
        self, keys: Sequence[str], position: Position, deadline: float = inf
    ) -> dict[str, Finding]:
        """A finding for each key that could be checked, from a state that includes a position.

        A database that has passed it serves; the primary is asked where it is by now, if none has.
        Raises Unavailable when none comes to pass it in time (``behind``), or when the position may
        have been lost in a failover (``other_timeline``).
        """
        at_least = self.history.resolve(position)
        if not any(
            target.reading is not None and target.reading.shows(at_least)
            for target in self._targets
        ):
            self._primary.probe_soon()
        try:
            read = await self._read(keys, self._reads_at_least, at_least, deadline)
        except Unavailable as error:
            known = self.history.highest(self.history.cluster)
            if error.reason == "behind" and at_least.timeline > known:
                raise Unavailable("other_timeline") from error
            raise
        return await self._completed(keys, read, at_least)

    async def _read(
        self, keys: Sequence[str], gate: Gate, at_least: Position | None, deadline: float
    ) -> Read:
        """What a database says, and which; a second one when the first one fails."""
        deadline = min(deadline, self._clock() + self._query_timeout)
        target, channel = await gate.enter(deadline, Wish(None, at_least))
        reading = target.reading
        try:
            rows = await target.fetch(channel, keys, deadline)
        except Unavailable as error:
            # Once more elsewhere. After a late query, there is still time for a quick one.
            deadline = max(deadline, self._clock() + self._grace)
            try:
                target, channel = await gate.enter(deadline, Wish(target, at_least))
            except Unavailable:
                raise error from None
            reading = target.reading
            rows = await target.fetch(channel, keys, deadline)
        assert reading is not None
        return Read(target, reading, rows, deadline)

    async def _completed(
        self, keys: Sequence[str], read: Read, at_least: Position | None
    ) -> dict[str, Finding]:
        """What was found, and of the other keys that they are absent, as far as that is sure."""
        found = findings(read.rows, read.reading)
        if len(found) < len(keys):
            missing = [key for key in keys if key not in found]
            if missing and read.target is not self._primary:
                await self._recheck(missing, found, read, at_least)
            else:
                found.update(dict.fromkeys(missing, Absence(read.reading)))
        return found

    async def _recheck(
        self,
        missing: list[str],
        found: dict[str, Finding],
        read: Read,
        at_least: Position | None,
    ) -> None:
        """Ask the primary once for what a replica lacks, if it has a channel free.

        Invented numbers must not become load on the primary: nobody waits for it. Without its
        word, that of a replica stands which is within the staleness bound; otherwise the keys
        stay unchecked.
        """
        primary, at_primary = self._primary, self._primary.reading
        count = self._metrics.rechecks.add
        channel = None
        if primary.serving and at_primary is not None:
            channel = primary.take() if at_least is None or at_primary.shows(at_least) else None
        if channel is not None:
            assert at_primary is not None
            try:
                rows = await primary.fetch(channel, missing, read.deadline)
            except Unavailable:
                pass
            else:
                known = findings(rows, at_primary)
                found.update(dict.fromkeys(missing, Absence(at_primary)))
                found.update(known)
                count("found", count=len(known))
                count("absent", count=len(missing) - len(known))
                return
        if self._fresh(read.reading):
            found.update(dict.fromkeys(missing, Absence(read.reading)))
            count("trusted", count=len(missing))
        else:
            count("unchecked", count=len(missing))

    def _fresh(self, reading: Reading) -> bool:
        return reading.as_of >= self._oldest(self._clock())

    def _take(self, wish: Wish) -> Grant | None:
        oldest = self._oldest(self._clock())
        if wish.at_least is None:
            return choose(self._primary, self._replicas, oldest, wish.avoid)
        if not self.serving():
            raise Unavailable("no_database")
        # After a failure the one that has every position comes first.
        targets = (*self._replicas, self._primary)
        if wish.avoid is not None:
            targets = targets[::-1]
        return choose_at_least(targets, oldest, wish.at_least, wish.avoid)

    def _freed(self) -> None:
        self._reads.wake()
        self._reads_at_least.wake()

    def _changed(self, target: Target) -> None:
        """Called after each probe, and when a target stops serving."""
        metrics = self._metrics
        metrics.target_serving.labels(target.name, target.role).set(target.serving)
        metrics.open_transaction_seconds.labels(target.name).set(target.open_for)
        # Its state may be one that somebody waits for.
        self._reads_at_least.wake()
        # A replica that serves but cannot be dated yet would answer "unavailable".
        if target.serving and target.reading is not None and self._fresh(target.reading):
            self._serves.set()
        if target is self._primary:
            for replica in self._replicas:
                if replica.reading is not None and replica.reading.as_of == UNDATED:
                    # Its first probe came before the primary's, so it could not be dated.
                    replica.probe_soon()
        else:
            lag = target.lag(self._current())
            if lag is not None:
                metrics.target_lag_bytes.labels(target.name).set(lag[0])
                metrics.target_lag_seconds.labels(target.name).set(lag[1])

    def _current(self) -> float:
        """The moment of a state without lag: that of the primary's last probe, while it has any."""
        reading = self._primary.reading
        return reading.as_of if reading is not None and self._primary.serving else self._clock()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._tick)
            # Whatever kept this process busy, answers that have arrived meanwhile are not late.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            now = self._clock()
            for target in self._targets:
                target.sweep(now)
            self._sweep_gates()

    def _sweep_gates(self) -> None:
        now = self._clock()
        self._reads.sweep(now)
        self._reads_at_least.sweep(now)
