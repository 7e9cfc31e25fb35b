"""Usage: how many questions of each tenant were answered, and when each key was last used.

Counted in memory where questions are answered, and written by the exchange: a worker that dies
takes with it what it counted since. What was refused is not counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import asyncpg

from verifier.access.callers import Caller
from verifier.database.tenancy import as_every_tenant
from verifier.invoice.verdict import SHANGHAI, VERDICTS, VerdictName

# A failover may have lost a tenant that this worker knows; its questions are nobody's then.
_ADD = """
INSERT INTO usage (tenant, day, endpoint, verdict, questions)
SELECT added.* FROM unnest($1::bigint[], $2::date[], $3::text[], $4::text[], $5::bigint[])
    AS added (tenant, day, endpoint, verdict, questions)
JOIN tenant AS t ON t.id = added.tenant
ORDER BY added.tenant, added.day, added.endpoint, added.verdict
ON CONFLICT (tenant, day, endpoint, verdict)
DO UPDATE SET questions = usage.questions + excluded.questions
"""

_USE = """
INSERT INTO access_key_use (key, used_at)
SELECT used.* FROM unnest($1::bigint[], $2::timestamptz[]) AS used (key, used_at)
JOIN access_key AS k ON k.id = used.key
ORDER BY used.key
ON CONFLICT (key) DO UPDATE SET used_at = excluded.used_at
WHERE access_key_use.used_at < excluded.used_at
"""

_HOUR = timedelta(hours=1)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)

Counts = dict[VerdictName, int]
# Whose, on which day in Shanghai, by which endpoint, and the verdict.
Key = tuple[int, date, str, VerdictName]


class Meter:
    """The questions of one endpoint since they were last collected, by who asked."""

    __slots__ = ("_usage", "_wall", "counts", "since", "until")

    def __init__(self, usage: Usage, wall: Callable[[], float]) -> None:
        self._usage = usage
        self._wall = wall
        # The hour that is counted for; as Usage says, and here since each question asks.
        self.since = self.until = 0.0
        self.counts: dict[Caller | None, Counts] = defaultdict(_no_counts)

    def of(self, caller: Caller | None) -> Counts:
        """How many answers of each verdict a caller got: to be added to before any await.

        Those of nobody in particular, who asks without keys, are written nowhere.
        """
        # The clock on the wall may be set back, too.
        if not self.since <= self._wall() < self.until:
            self._usage.keep_time()
        return self.counts[caller]


class Usage:
    """What has been asked, for the exchange; ``wall`` tells the time in seconds since the epoch.

    Bounded by tenants and keys, and by the days for which nothing could be written.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._hour = _LONG_AGO
        self._meters: dict[str, Meter] = {}
        # Of hours that are over; and what the exchange tries to write.
        self._counted: Counter[Key] = Counter()
        self._aside: Counter[Key] = Counter()
        # Keys by their ids, with the hour of their last use: all; not yet collected; not written.
        self._known: dict[int, datetime] = {}
        self._used: dict[int, datetime] = {}
        self._used_aside: dict[int, datetime] = {}
        self.keep_time()

    def meter(self, endpoint: str) -> Meter:
        """Where the questions of an endpoint are counted."""
        return self._meters.setdefault(endpoint, Meter(self, self._wall))

    def note(self, caller: Caller | None) -> None:
        """A caller has used its key, for whatever."""
        self.keep_time()
        if caller is not None:
            self._use(caller.id)

    def keep_time(self) -> None:
        """Count for the hour that is from now on."""
        moment = datetime.fromtimestamp(self._wall(), SHANGHAI)
        hour = moment.replace(minute=0, second=0, microsecond=0)
        if hour != self._hour:
            self._fold()
            self._hour = hour
        for meter in self._meters.values():
            meter.since, meter.until = hour.timestamp(), (hour + _HOUR).timestamp()

    def has_news(self) -> bool:
        """Whether anything was asked that is not written."""
        asked = any(meter.counts for meter in self._meters.values())
        return bool(asked or self._counted or self._used or self._aside or self._used_aside)

    def collect(self) -> None:
        """Set aside what was counted."""
        self.keep_time()
        self._fold()
        self._aside.update(self._counted)
        self._used_aside.update(self._used)
        self._counted.clear()
        self._used.clear()

    async def write(self, connection: asyncpg.Connection) -> None:
        """Add it to the tables. Raises what the database raises."""
        if self._aside:
            await as_every_tenant(connection)
            tenants, days, endpoints, verdicts = zip(*self._aside, strict=True)
            await connection.execute(
                _ADD, tenants, days, endpoints, verdicts, list(self._aside.values())
            )
        if self._used_aside:
            await connection.execute(_USE, list(self._used_aside), list(self._used_aside.values()))

    def written(self) -> None:
        """It is there."""
        self._aside.clear()
        self._used_aside.clear()

    def _fold(self) -> None:
        """Put what the meters have where it stays apart from what comes next."""
        day = self._hour.date()
        for endpoint, meter in self._meters.items():
            for caller, counts in meter.counts.items():
                if caller is None:
                    continue
                self._use(caller.id)
                for verdict, count in counts.items():
                    if count:
                        self._counted[caller.tenant.id, day, endpoint, verdict] += count
            meter.counts.clear()

    def _use(self, key: int) -> None:
        if self._known.get(key, _LONG_AGO) < self._hour:
            self._known[key] = self._used[key] = self._hour


def _no_counts() -> Counts:
    return dict.fromkeys(VERDICTS, 0)
