"""Roles: what a probe of a primary proves, and what one of a replica."""

from __future__ import annotations

from verifier.ledger.lookup.probes import SETTLING_PROBES, Probe
from verifier.ledger.lookup.targets import UNDATED, Target


class Primary(Target):
    """The primary: what it shows is current, and its positions date the replicas' states."""

    role = "primary"

    def _judge(self, probe: Probe, lost_ground: bool) -> float:
        cluster = self._observer.cluster
        if probe.in_recovery:
            raise ValueError("in_recovery")
        if self._history.outdated(cluster, probe.timeline):
            raise ValueError("old_timeline")
        self._history.add(probe, cluster)
        return probe.began


class Replica(Target):
    """A replica: its state is dated by the primary's positions that it has passed."""

    role = "replica"

    def _judge(self, probe: Probe, lost_ground: bool) -> float:
        if not probe.in_recovery:
            raise ValueError("not_a_replica")
        if self._history.cluster not in ("", self._observer.cluster):
            raise ValueError("other_cluster")
        known = UNDATED if lost_ground or self.reading is None else self.reading.as_of
        covered = self._history.covered(probe.timeline, probe.lsn)
        as_of = known if covered is None else max(known, covered)
        # Before the primary's first position nothing is known of its lag.
        if self._history.newest is not None:
            lags = as_of < self._oldest(probe.began)
            self._settling_probes = SETTLING_PROBES if lags else max(0, self._settling_probes - 1)
            self.settling = self._settling_probes > 0
        return as_of
