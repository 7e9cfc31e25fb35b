"""Readings: what findings say of the state that they come from, and until when that holds.

A reading is published only once memory has heard of every change that it shows (reliability.md:
invalidation never comes after visibility). One cell, Live, has the newest reading of a server, for
as long as its change log is followed without a gap; what was found before holds as long as that.
"""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg

from verifier.clocks import Clocks
from verifier.config import ChangeLog
from verifier.database.connections import Role
from verifier.ledger.changes.follower import Changes, Follower
from verifier.ledger.lookup.observer import Sight
from verifier.state import Live, Position, Reading


class Readings:
    """Follows the change log of one database, and publishes its readings, one for each look.

    ``memory`` hears of the changes. ``seconds`` and ``bounds`` are those of the Follower.
    """

    def __init__(
        self, role: Role, memory: Changes, clocks: Clocks, seconds: float, bounds: ChangeLog
    ) -> None:
        self._role: Role = role
        self._memory = memory
        self._clocks = clocks
        self._seconds = seconds
        self._bounds = bounds
        self._follower: Follower | None = None
        self._live = Live()
        self._watermarks: Mapping[str, float] = {}

    @property
    def open_for(self) -> float:
        """Seconds for which some transaction has been open (``Follower.open_for``)."""
        return 0.0 if self._follower is None else self._follower.open_for(self._clocks.steady())

    async def follow(self, connection: asyncpg.Connection, *, anew: bool) -> bool:
        """Have memory drop what has changed since the last look; call it after the probe.

        False when some of it was not heard; then what was found before is believed no more. Nor is
        it after a new connection, when the log is followed from now on: a server whose processes
        had to be started again, or a database that was put in the place of another, may give out
        numbers again that were seen before. Raises what the database raises.
        """
        now = self._clocks.steady()
        if anew or self._follower is None:
            self._forget()
            self._follower = await Follower.begin(connection, self._seconds, self._bounds, now)
        whole = await self._follower.catch_up(self._memory, now)
        if not whole:
            self._forget()
        return whole

    def publish(self, sight: Sight) -> Reading:
        """The state that was sighted before the log was followed; findings carry it from now on."""
        probe = sight.probe
        if self._watermarks != probe.watermarks:
            # Readings share the mapping while it stays the same.
            self._watermarks = probe.watermarks
        reading = Reading(
            self._role,
            sight.as_of,
            self._watermarks,
            self._memory.applied,
            Position(probe.timeline, probe.lsn) if probe.certain else None,
            self._live,
            self._clocks.epoch(),
        )
        self._live.reading = reading
        return reading

    def _forget(self) -> None:
        self._live.reading = None
        self._live = Live()
