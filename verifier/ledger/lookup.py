"""Lookup: identities to findings, from the best database at hand, with the truth about its state.

A key that a replica lacks is asked of the primary once, before anyone says that it is not there.
Absent and unchecked are never mixed up: a key that could not be checked is not in the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from verifier.config import Config
from verifier.errors import ConfigError, Unavailable
from verifier.invoice.record import Absence, Finding, Position, Reading
from verifier.ledger.changes import Changes
from verifier.ledger.channels import Rows
from verifier.ledger.choice import choose, choose_primary
from verifier.ledger.gate import Gate, Grant
from verifier.ledger.invoices import findings
from verifier.ledger.probes import History
from verifier.ledger.status import report
from verifier.ledger.targets import Primary, Replica, Target
from verifier.metrics import Metrics


class Lookup:
    """Reads from the replicas and, where it must, from the primary; one per event loop.

    ``clock`` gives seconds since the epoch and is never set back; ``memory`` hears of changes;
    ``oldest`` says which state a question that starts at a moment may rest on.
    ``slots`` is how many fetches may usefully run at once.
    """

    def __init__(
        self,
        config: Config,
        metrics: Metrics,
        clock: Callable[[], float],
        memory: Changes,
        oldest: Callable[[float], float],
    ) -> None:
        if not config.primary_dsn:
            raise ConfigError("VERIFIER_PRIMARY_DSN is not set; expected the DSN of the primary")
        self._clock = clock
        self._metrics = metrics
        self._query_timeout = config.query_timeout
        self._oldest = oldest
        # A late query ends within a tick of its deadline, and a second try gets two ticks: so
        # nobody waits for longer than query_timeout + probe_interval.
        self._tick = config.probe_interval / 4
        self._grace = config.probe_interval / 2
        self._start_bound = config.connect_timeout + config.query_timeout
        count = len(config.replica_dsns)
        self.slots = max(1, count) * config.read_connections
        history = History()

        self._reads = Gate(self._take, self.slots)
        self._primary_reads = Gate(self._take_primary, self.slots)

        def primary_freed() -> None:
            self._primary_reads.wake()
            self._reads.wake()

        self._primary: Target = Primary(
            "primary",
            config.primary_dsn,
            config.primary_connections if count else config.read_connections,
            history,
            config,
            clock,
            primary_freed,
            self._changed,
            memory,
        )
        self._replicas: list[Target] = [
            Replica(
                f"replica-{number}",
                dsn,
                config.read_connections,
                history,
                config,
                clock,
                self._reads.wake,
                self._changed,
                memory,
            )
            for number, dsn in enumerate(config.replica_dsns, 1)
        ]
        self._targets = [self._primary, *self._replicas]
        self._serves = asyncio.Event()
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Watch the databases; return when one can answer, or after a bound: readiness tells."""
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
        for target in self._targets:
            await target.close()
        self._reads.sweep(self._clock())
        self._primary_reads.sweep(self._clock())

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
        return report(self._targets, self._current(), self._clock(), trusted=self.trusted())

    async def fetch_many(self, keys: Sequence[str]) -> dict[str, Finding]:
        """A finding for each key that could be checked. Raises Unavailable when none could be.

        Takes at most query_timeout + probe_interval.
        """
        deadline = self._clock() + self._query_timeout
        target, channel = await self._reads.enter(deadline)
        reading = target.reading
        try:
            rows = await target.fetch(channel, keys, deadline)
        except Unavailable as error:
            # Once more elsewhere. After a late query, there is still time for a quick one.
            deadline = max(deadline, self._clock() + self._grace)
            try:
                target, channel = await self._reads.enter(deadline, avoid=target)
            except Unavailable:
                raise error from None
            reading = target.reading
            rows = await target.fetch(channel, keys, deadline)
        assert reading is not None
        found = findings(rows, reading)
        if len(found) < len(keys):
            missing = [key for key in keys if key not in found]
            if missing and target is not self._primary:
                await self._recheck(missing, found, reading, deadline)
            else:
                found.update(dict.fromkeys(missing, Absence(reading)))
        return found

    async def fetch_primary(self, keys: Sequence[str]) -> dict[str, Finding]:
        """A finding for every key, from the primary alone. Raises Unavailable."""
        deadline = self._clock() + self._query_timeout
        target, channel = await self._primary_reads.enter(deadline)
        reading = target.reading
        assert reading is not None
        rows = await target.fetch(channel, keys, deadline)
        return _complete(keys, rows, reading)

    async def fetch_at(self, keys: Sequence[str], position: Position) -> dict[str, Finding]:
        """A finding for every key, from a state that includes a position. Raises Unavailable.

        A replica that has passed it serves if one is free, else the primary; a primary on an older
        timeline than the position's does not know it.
        """
        for target in self._replicas:
            reading = target.reading
            if target.serving and reading is not None and reading.shows(position):
                channel = target.take()
                if channel is not None:
                    deadline = self._clock() + self._query_timeout
                    try:
                        rows = await target.fetch(channel, keys, deadline)
                    except Unavailable:
                        # Once more elsewhere: the primary has it too.
                        break
                    return _complete(keys, rows, reading)
        known = self._primary.probe
        if known is not None and known.timeline < position.timeline:
            raise Unavailable("other_timeline")
        return await self.fetch_primary(keys)

    async def _recheck(
        self,
        missing: list[str],
        found: dict[str, Finding],
        reading: Reading,
        deadline: float,
    ) -> None:
        """Ask the primary once for what a replica lacks, if it has a channel free.

        Invented numbers must not become load on the primary: nobody waits for it. Without its
        word, that of a replica stands which is within the staleness bound; otherwise the keys
        stay unchecked.
        """
        primary = self._primary
        count = self._metrics.rechecks.add
        channel = primary.take() if primary.serving else None
        if channel is not None:
            at_primary = primary.reading
            assert at_primary is not None
            try:
                rows = await primary.fetch(channel, missing, deadline)
            except Unavailable:
                pass
            else:
                checked = _complete(missing, rows, at_primary)
                found.update(checked)
                count("found", count=len(rows))
                count("absent", count=len(checked) - len(rows))
                return
        if self._fresh(reading):
            found.update(dict.fromkeys(missing, Absence(reading)))
            count("trusted", count=len(missing))
        else:
            count("unchecked", count=len(missing))

    def _fresh(self, reading: Reading) -> bool:
        return reading.as_of >= self._oldest(self._clock())

    def _take(self, avoid: Target | None) -> Grant | None:
        return choose(self._primary, self._replicas, self._oldest(self._clock()), avoid)

    def _take_primary(self, avoid: Target | None) -> Grant | None:
        return choose_primary(self._primary)

    def _changed(self, target: Target) -> None:
        """Called after each probe, and when a target stops serving."""
        metrics = self._metrics
        metrics.target_serving.labels(target.name, target.role).set(target.serving)
        # A replica that serves but cannot be dated yet would answer "unavailable".
        if target.serving and target.reading is not None and self._fresh(target.reading):
            self._serves.set()
        if target is self._primary:
            for replica in self._replicas:
                if replica.reading is not None and not replica.reading.as_of:
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
            self._reads.sweep(now)
            self._primary_reads.sweep(now)


def _complete(keys: Sequence[str], rows: Rows, reading: Reading) -> dict[str, Finding]:
    found: dict[str, Finding] = dict.fromkeys(keys, Absence(reading))
    found.update(findings(rows, reading))
    return found
