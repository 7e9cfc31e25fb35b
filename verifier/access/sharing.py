"""Sharing: many workers hold one limit, and tell each other once a second what was asked of them.

Each has a bucket with a fraction of the rate and of the burst. The fractions are max-min fair:
every worker gets what is asked of it, up to an even part; what some leave of theirs goes to those
who need more; and what nobody needs is divided evenly. So while more is asked than the limit
admits, the fractions do not follow the crowd from worker to worker: each has its even part at once,
wherever it is, and only what is lent must be learnt of. Two rules keep the sum near one while
workers know of each other late:

- A worker counts as its own demand the lower of the two reports before its newest: what the others
  had time to see. With its newest, or the one before, every one of a crowd that comes to all at
  once would take what the others do not seem to need yet: 17 to 22 % too much in 10 seconds.
- A worker always has three quarters of an even part. With less, a crowd that comes back finds most
  workers with the crumbs that were left to them: 14 % too little. With all of it, workers that are
  asked again after a lone one had all the rate spend a quarter more of it until that one learns.

Over any 10 seconds, 4 workers that are asked for three times the limit admit what one bucket would,
give or take 10 % of the rate, also from the start, and when one starts or dies
(tests/access/test_sharing.py; exchanges that are not in step and take up to 1.5 seconds).

A client that asks a single worker misses what the others hold until its third exchange: up to a
third of 10 seconds' units, once. And a crowd that comes to all workers after it gets 16 % too much,
until the lone one learns of it.

Also tried there: fractions in proportion to demand (25 % too little when the crowd moves on, and
16 to 35 % too much when own demand is the newest); one whole bucket in each worker, from which the
others' admitted units are taken when they become known (80 % too much, 55 % too little by turns);
and smoothed demand, which is no better than that of the last second and learns later.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

import msgspec

from verifier.access.rates import Bucket, Rate

# Seconds after which a report is of the past: exchanges a second apart that take up to 1.5 seconds
# leave at most so many between two reports of one worker. A worker that dies holds its part on.
STALE = 2.5

# Seconds for which fractions hold while no exchange succeeds.
KEPT = 10.0

# This share of an even part every worker has in any case.
_CERTAIN = 0.75


class Report(msgspec.Struct, frozen=True, gc=False):
    """What one worker tells the others about one limit.

    ``demand`` is in units a second: all that was asked of it since its last report, also in vain.
    ``age`` is in seconds since the report was written, by the clock of the database that has it.
    """

    worker: str
    demand: float
    age: float = 0.0


def fraction(own: float, others: Iterable[float]) -> float:
    """The part of a limit that is this worker's, when the demands are parts of its rate."""
    demands = sorted([own, *others])
    left = 1.0
    for met, demand in enumerate(demands):
        level = left / (len(demands) - met)
        if demand >= level:
            return max(min(own, level), _CERTAIN / len(demands))
        left -= demand
    return max(own + left / len(demands), _CERTAIN / len(demands))


class Share(Bucket):
    """One worker's share of one limit, as a bucket; an even part of it until its first exchanges.

    ``rate`` is that of the whole limit. ``workers`` says how many are known, this one and idle ones
    included; ``now`` is in seconds of the steady clock.
    """

    __slots__ = (
        "_before",
        "_demand",
        "_earlier",
        "_fraction",
        "_learnt",
        "_reported",
        "_worker",
        "_workers",
        "rate",
    )

    def __init__(self, worker: str, rate: Rate, workers: int, now: float) -> None:
        self._worker = worker
        self.rate = rate
        self._workers = workers
        self._fraction = 1 / workers
        super().__init__(self._part())
        # The moment of the last report.
        self._reported = now
        # Units a second: as the last report says, the one before, and the one before that.
        self._demand = self._before = self._earlier = 0.0
        self._learnt = -inf

    def report(self, now: float) -> Report:
        """What to tell the others now; at most once in a second or so."""
        elapsed = now - self._reported
        if elapsed > 0:
            self._earlier, self._before = self._before, self._demand
            self._demand = self.offered / elapsed
            self.offered, self._reported = 0, now
        return Report(self._worker, self._demand)

    def learn(self, reports: Iterable[Report], workers: int, now: float) -> None:
        """An exchange has succeeded: these are the newest reports of all workers.

        Who reports nothing is not asked for anything.
        """
        late = now - self._learnt > STALE
        self._learnt = now
        if late:
            # The reports are as old as the silence, and who has not come back yet is not dead.
            self._workers = max(workers, self._workers)
            self._divide(1 / self._workers, now)
            return
        self._workers = workers
        demands = [
            report.demand / self.rate.units
            for report in reports
            if report.worker != self._worker and report.age <= STALE
        ]
        idle = [0.0] * (workers - 1 - len(demands))
        seen = min(self._before, self._earlier) / self.rate.units
        self._divide(fraction(seen, demands + idle), now)

    def miss(self, now: float) -> None:
        """An exchange has failed: the fraction holds for ``KEPT`` seconds, then it is even."""
        if now - self._learnt > KEPT:
            self._divide(1 / self._workers, now)

    def limit(self, rate: Rate, now: float) -> None:
        """Go on with another limit."""
        self.rate = rate
        self._divide(self._fraction, now)

    def _divide(self, fraction: float, now: float) -> None:
        self._fraction = fraction
        self.change(self._part(), now)

    def _part(self) -> Rate:
        return Rate(self.rate.units * self._fraction, self.rate.burst * self._fraction)
