"""Lookup: identities to findings, from the best database at hand, with the truth about its state.

A key that a replica lacks is asked of the primary once, before anyone says that it is not there.
Absent and unchecked are never mixed up: a key that could not be checked is not in the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import NamedTuple

from verifier.config import Databases
from verifier.errors import Unavailable
from verifier.ledger.lookup.channels import Rows
from verifier.ledger.lookup.fleet import Fleet
from verifier.ledger.lookup.gate import Wish
from verifier.ledger.lookup.invoices import findings
from verifier.ledger.lookup.targets import Target
from verifier.metrics import Metrics
from verifier.state import Position, Reading
from verifier.wire.records import Absence, Finding


class _Read(NamedTuple):
    """What a database said, in which state, and until when it may be asked again."""

    target: Target
    reading: Reading
    rows: Rows
    deadline: float


class Lookup:
    """Reads from the replicas of a fleet and, where it must, from its primary.

    ``clock`` is the steady one.
    """

    def __init__(
        self, fleet: Fleet, config: Databases, metrics: Metrics, clock: Callable[[], float]
    ) -> None:
        self._fleet = fleet
        self._metrics = metrics
        self._clock = clock
        self._query_timeout = config.query_timeout
        # A late query ends within a quarter of probe_interval after its deadline, and a second try
        # gets half of one: so nobody waits for longer than query_timeout + probe_interval.
        self._grace = config.probe_interval / 2

    async def fetch_many(self, keys: Sequence[str], deadline: float = inf) -> dict[str, Finding]:
        """A finding for each key that could be checked. Raises Unavailable when none could be.

        Takes at most query_timeout + probe_interval, and no query runs beyond the deadline (steady
        clock) but for one that is tried again.
        """
        read = await self._read(keys, None, deadline)
        return await self._completed(keys, read, None)

    async def fetch_at(
        self, keys: Sequence[str], position: Position, deadline: float = inf
    ) -> dict[str, Finding]:
        """A finding for each key that could be checked, from a state that includes a position.

        A database that has passed it serves; the primary is asked where it is by now, if none has.
        Raises Unavailable when none comes to pass it in time (``behind``), or when the position may
        have been lost in a failover (``other_timeline``).
        """
        dating = self._fleet.dating
        at_least = dating.resolve(position)
        self._fleet.expect(at_least)
        try:
            read = await self._read(keys, at_least, deadline)
        except Unavailable as error:
            known = dating.timelines.highest(dating.cluster)
            if error.reason == "behind" and at_least.timeline > known:
                raise Unavailable("other_timeline") from error
            raise
        return await self._completed(keys, read, at_least)

    async def _read(self, keys: Sequence[str], at_least: Position | None, deadline: float) -> _Read:
        """What a database says, and which; a second one when the first one fails."""
        deadline = min(deadline, self._clock() + self._query_timeout)
        target, channel = await self._fleet.enter(deadline, Wish(None, at_least))
        reading = target.reading
        try:
            rows = await target.fetch(channel, keys, deadline)
        except Unavailable as error:
            # Once more elsewhere. After a late query, there is still time for a quick one.
            deadline = max(deadline, self._clock() + self._grace)
            try:
                target, channel = await self._fleet.enter(deadline, Wish(target, at_least))
            except Unavailable:
                raise error from None
            reading = target.reading
            rows = await target.fetch(channel, keys, deadline)
        assert reading is not None
        return _Read(target, reading, rows, deadline)

    async def _completed(
        self, keys: Sequence[str], read: _Read, at_least: Position | None
    ) -> dict[str, Finding]:
        """What was found, and of the other keys that they are absent, as far as that is sure."""
        found = findings(read.rows, read.reading)
        if len(found) < len(keys):
            missing = [key for key in keys if key not in found]
            if missing and read.target is not self._fleet.primary:
                await self._recheck(missing, found, read, at_least)
            else:
                found.update(dict.fromkeys(missing, Absence(read.reading)))
        return found

    async def _recheck(
        self,
        missing: list[str],
        found: dict[str, Finding],
        read: _Read,
        at_least: Position | None,
    ) -> None:
        """Ask the primary once for what a replica lacks, if it has a channel free.

        Invented numbers must not become load on the primary: nobody waits for it. Without its
        word, that of a replica stands which is within the staleness bound; otherwise the keys
        stay unchecked.
        """
        primary = self._fleet.primary
        at_primary = primary.reading
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
        if self._fleet.is_fresh(read.reading):
            found.update(dict.fromkeys(missing, Absence(read.reading)))
            count("trusted", count=len(missing))
        else:
            count("unchecked", count=len(missing))
