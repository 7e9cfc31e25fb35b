"""History: what the servers of one cluster have shown, and what that proves.

A replica that has replayed a position of the primary's log shows everything that was acknowledged
when the primary was there. So the primary's positions are remembered with their moments, and a
replica's state is at least as new as the newest moment whose position it has passed.

A failover begins a new timeline. A primary of a lower one than any server of its cluster has
shown was left behind: it is refused. What the old timeline had written is part of the new one only
as far as some server has been seen to carry it over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from verifier.errors import Unavailable
from verifier.ledger.lookup.probes import Probe
from verifier.state import Position

# How many positions of the primary are remembered: a minute at the default interval. A replica
# further behind is of no use, and keeps the moment it had.
HISTORY = 240

# Of so many clusters the highest timeline is remembered; a DSN leads to a second one by mistake.
_CLUSTERS = 8


class History:
    """Positions of the primary with their moments, oldest first, bounded; and the timelines.

    ``cluster`` is the primary's system identifier, empty before the first position. ``witnesses``
    name the targets that must have been tried before a primary can be believed to be the newest.
    """

    def __init__(self, witnesses: Iterable[str] = (), size: int = HISTORY) -> None:
        self._positions: deque[Probe] = deque(maxlen=size)
        self.cluster = ""
        self._highest: dict[str, int] = {}
        # Up to which position each earlier timeline is part of the cluster's highest one.
        self._carried: dict[int, int] = {}
        self._unheard = set(witnesses)
        self._heard = asyncio.Event()
        if not self._unheard:
            self._heard.set()

    def witness(self, name: str) -> None:
        """A target has been tried, whatever came of it."""
        self._unheard.discard(name)
        if not self._unheard:
            self._heard.set()

    async def heard(self) -> None:
        """Return when every witness has been tried."""
        await self._heard.wait()

    @property
    def complete(self) -> bool:
        """Whether every witness has been tried."""
        return self._heard.is_set()

    def highest(self, cluster: str) -> int:
        """The highest timeline that a server of a cluster has shown, 0 before the first."""
        return self._highest.get(cluster, 0)

    def noticed(self, cluster: str, timeline: int) -> None:
        """Some server of a cluster is on a timeline."""
        known = self.highest(cluster)
        if timeline <= known:
            return
        if not known and len(self._highest) >= _CLUSTERS:
            del self._highest[next(iter(self._highest))]
        self._highest[cluster] = timeline
        if cluster == self.cluster:
            # The new timeline may have parted from any earlier one, anywhere. Positions of those
            # date nobody any more.
            self._carried = {}
            self._positions.clear()

    def saw(self, cluster: str, probe: Probe, before: Probe | None = None) -> None:
        """Some server has answered; ``before`` is what the same server answered earlier.

        Call it for every probe, also of a server that is then refused.
        """
        self.noticed(cluster, probe.timeline)
        if before is None or not before.certain or cluster != self.cluster:
            return
        if before.timeline < probe.timeline == self.highest(cluster):
            # A server never goes back while it runs, so it has carried all of that over.
            carried = self._carried.get(before.timeline, 0)
            self._carried[before.timeline] = max(carried, before.lsn)

    def outdated(self, cluster: str, timeline: int) -> bool:
        """Whether a primary was left behind by a failover."""
        return timeline < self.highest(cluster)

    def add(self, probe: Probe, cluster: str) -> None:
        """Remember a probe of the primary."""
        if cluster != self.cluster:
            # Positions of one cluster's log say nothing about another's.
            self._positions.clear()
            self._carried = {}
            self.cluster = cluster
        self._positions.append(probe)

    @property
    def newest(self) -> Probe | None:
        """The last position, None before the first."""
        return self._positions[-1] if self._positions else None

    def covered(self, timeline: int, lsn: int) -> float | None:
        """The newest moment whose position a replica has passed; None when there is none.

        Positions of another timeline say nothing: after a failover both may have grown apart.
        """
        for position in reversed(self._positions):
            if position.lsn <= lsn and position.timeline == timeline:
                return position.began
        return None

    def resolve(self, position: Position) -> Position:
        """A position as one of the highest timeline, which whoever has passed it there includes.

        Raises Unavailable (``other_timeline``) for one of an earlier timeline that nobody is known
        to have carried over: the failover may have lost what it names.
        """
        highest = self.highest(self.cluster)
        if position.timeline >= highest:
            return position
        if position.lsn <= self._carried.get(position.timeline, -1):
            return Position(highest, position.lsn)
        raise Unavailable("other_timeline")
