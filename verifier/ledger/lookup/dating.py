"""Dating: how new the state is that a server shows, as far as the probes of all prove it. No I/O.

A replica that has replayed a position of the primary's log shows everything that was acknowledged
when the primary was there. So the primary's positions are remembered with their moments, and a
replica's state is at least as new as the newest moment whose position it has passed.

After a failover the positions of the old timeline date nobody any more, and what it had written is
part of the new one only as far as some server has been seen to carry it over.
"""

from __future__ import annotations

from collections import deque
from math import inf

from verifier.database.timelines import Timelines
from verifier.errors import Unavailable
from verifier.ledger.lookup.probes import Probe
from verifier.state import Position

# How many positions of the primary are remembered: a minute at the default interval. A replica
# further behind is of no use, and keeps the moment it had.
POSITIONS = 240

# The moment of a state of which nothing is known to date it by.
UNDATED = -inf


class Unfit(Exception):
    """A server has not the role that it should have; its message is the reason, a short word."""


class Dating:
    """Positions of the primary with their moments, oldest first, bounded.

    ``cluster`` is the primary's system identifier, empty before the first position.
    """

    def __init__(self, timelines: Timelines, size: int = POSITIONS) -> None:
        self.timelines = timelines
        self.cluster = ""
        self._positions: deque[Probe] = deque(maxlen=size)
        # By earlier timeline, which part of it the cluster's highest one is known to include.
        self._carried: dict[int, Position] = {}

    def saw(self, cluster: str, probe: Probe, before: Probe | None = None) -> None:
        """Some server has answered; ``before`` is what the same server answered earlier.

        Call it for every probe, also of a server that is then refused.
        """
        self.timelines.noticed(cluster, probe.timeline)
        if before is None or not before.certain or cluster != self.cluster:
            return
        highest = self.timelines.highest(cluster)
        if before.timeline < probe.timeline == highest:
            # A server never goes back while it runs, so it has carried all of that over. A still
            # higher timeline may part from any earlier one, anywhere: what was carried before is
            # void then.
            carried = {
                timeline: position
                for timeline, position in self._carried.items()
                if position.timeline == highest
            }
            known = carried.get(before.timeline)
            if known is None or known.lsn < before.lsn:
                carried[before.timeline] = Position(highest, before.lsn)
            self._carried = carried

    def primary(self, cluster: str, probe: Probe) -> float:
        """The moment as of which a primary shows the ledger, which dates the replicas from now on.

        Raises Unfit when it is none (``in_recovery``), or a failover has left it behind
        (``old_timeline``).
        """
        if probe.in_recovery:
            raise Unfit("in_recovery")
        if self.timelines.outdated(cluster, probe.timeline):
            raise Unfit("old_timeline")
        if cluster != self.cluster:
            # Positions of one cluster's log say nothing about another's.
            self._positions.clear()
            self._carried = {}
            self.cluster = cluster
        self._positions.append(probe)
        return probe.began

    def replica(self, cluster: str, probe: Probe, known: float) -> float:
        """The moment as of which a replica shows the ledger at least, UNDATED when nothing tells.

        ``known`` is such a moment of an earlier probe, whose state this one includes. Raises Unfit
        when it is no replica (``not_a_replica``), or not one of the primary's (``other_cluster``).
        """
        if not probe.in_recovery:
            raise Unfit("not_a_replica")
        if self.cluster not in ("", cluster):
            raise Unfit("other_cluster")
        covered = self.covered(probe.timeline, probe.lsn)
        return known if covered is None else max(known, covered)

    @property
    def newest(self) -> Probe | None:
        """The primary's last position on the highest timeline, None before the first there."""
        last = self._positions[-1] if self._positions else None
        if last is None or self.timelines.outdated(self.cluster, last.timeline):
            return None
        return last

    def covered(self, timeline: int, lsn: int) -> float | None:
        """The newest moment whose position a replica has passed; None when there is none.

        Positions of another timeline say nothing: after a failover both may have grown apart.
        """
        if self.timelines.outdated(self.cluster, timeline):
            return None
        for position in reversed(self._positions):
            if position.lsn <= lsn and position.timeline == timeline:
                return position.began
        return None

    def lag(self, probe: Probe, as_of: float, current: float) -> tuple[int, float] | None:
        """How far a server was behind the primary at a probe: bytes of log and seconds.

        ``as_of`` is the moment of its state, ``current`` the one that a state without lag would
        have. A server that has passed the newest position has no lag, however long ago the last
        change was. None while that is unknown.
        """
        newest = self.newest
        if newest is None or as_of == UNDATED:
            return None
        behind = max(0, newest.lsn - probe.lsn)
        return behind, max(0.0, current - as_of) if behind else 0.0

    def resolve(self, position: Position) -> Position:
        """A position as one of the highest timeline, which whoever has passed it there includes.

        Raises Unavailable (``other_timeline``) for one of an earlier timeline that nobody is known
        to have carried over: the failover may have lost what it names.
        """
        highest = self.timelines.highest(self.cluster)
        if position.timeline >= highest:
            return position
        carried = self._carried.get(position.timeline)
        if carried is not None and carried.timeline == highest and position.lsn <= carried.lsn:
            return Position(highest, position.lsn)
        raise Unavailable("other_timeline")
