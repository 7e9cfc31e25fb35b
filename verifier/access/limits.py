"""Limits: how much a key, and all keys of its tenant together, may ask.

A question costs a unit, a batch of n costs n. Each worker has a share of each limit (sharing.py),
and tells the others once a second what was asked of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg

from verifier.access.rates import Rate
from verifier.access.sharing import STALE, Report, Share
from verifier.wire.limits import Name

_TELL = """
INSERT INTO limit_demand (worker, subject, demand, at)
SELECT $1, told.subject, told.demand, clock_timestamp()
FROM unnest($2::text[], $3::double precision[]) AS told (subject, demand)
ON CONFLICT (worker, subject) DO UPDATE SET demand = excluded.demand, at = excluded.at
"""

# Who exchanged lately is there.
_WORKERS = "SELECT count(*) FROM access_worker WHERE at > clock_timestamp() - $1::interval"
_HEAR = """
SELECT worker, subject, demand, extract(epoch FROM clock_timestamp() - at)::double precision
FROM limit_demand WHERE worker <> $1 AND at > clock_timestamp() - $2::interval
"""
_LATELY = timedelta(seconds=STALE)

# Of workers that are gone; never waits for another one that does the same.
_FORGET = """
DELETE FROM limit_demand WHERE (worker, subject) IN (
    SELECT worker, subject FROM limit_demand
    WHERE at < clock_timestamp() - interval '1 minute'
    FOR UPDATE SKIP LOCKED
)
"""


class Over(NamedTuple):
    """A limit that does not admit what is asked, and in how many seconds it would."""

    name: Name
    seconds: float


class Shares:
    """The shares that this worker has of all limits; a part of the exchange.

    ``clock`` is the steady one.
    """

    def __init__(self, worker: UUID, clock: Callable[[], float]) -> None:
        self._worker = worker
        self._clock = clock
        # Those that are known, this one included.
        self._workers = 1
        self._shares: dict[str, Share] = {}
        self._told: dict[str, float] = {}
        self._heard: Sequence[asyncpg.Record] = ()

    def share(self, subject: str, rate: Rate | None) -> Share | None:
        """The share of a subject's limit; the same one as before if it had one. None without."""
        share = self._shares.get(subject)
        now = self._clock()
        if rate is None:
            self._shares.pop(subject, None)
            return None
        if share is None:
            share = self._shares[subject] = Share(str(self._worker), rate, self._workers, now)
        else:
            share.limit(rate, now)
        return share

    def has_news(self) -> bool:
        """Whether there is any limit: then others must know that this worker is there."""
        return bool(self._shares)

    def collect(self) -> None:
        """Take note of what was asked for since the last time."""
        now = self._clock()
        demands = {name: share.report(now).demand for name, share in self._shares.items()}
        # That nobody asks any more is told once: else others heed the last report for longer.
        self._told = {
            name: demand for name, demand in demands.items() if demand or self._told.get(name)
        }

    async def write(self, connection: asyncpg.Connection) -> None:
        """Tell the others, and hear what they tell. Raises what the database raises."""
        subjects = sorted(self._told)
        await connection.execute(_FORGET)
        if subjects:
            demands = [self._told[subject] for subject in subjects]
            await connection.execute(_TELL, self._worker, subjects, demands)
        self._workers = max(1, await connection.fetchval(_WORKERS, _LATELY))
        self._heard = await connection.fetch(_HEAR, self._worker, _LATELY)

    def written(self) -> None:
        """Divide each limit by what was heard."""
        now = self._clock()
        told: dict[str, list[Report]] = {}
        for worker, subject, demand, age in self._heard:
            told.setdefault(subject, []).append(Report(str(worker), demand, age))
        self._heard = ()
        for subject, share in self._shares.items():
            share.learn(told.get(subject, ()), self._workers, now)

    def missed(self) -> None:
        """An exchange has failed."""
        now = self._clock()
        for share in self._shares.values():
            share.miss(now)
