"""Failed attempts by invoice and day: who knows a number must not find the rest by trying.

They are counted across callers, and only what an invoice's true holder never gets is held against
it: an answer that matches is given however many have failed. Each worker counts in memory and
exchanges with the others through a table, about once a second, so that counts survive restarts.

What is written comes back as the total of all workers. What a worker has not failed on itself it
learns once the limit is reached; below that it makes no difference to it. So an invoice may be
tried up to the limit at each worker within one exchange, and no further.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import date, datetime

import asyncpg

from verifier.invoice.verdict import SHANGHAI

# Invoices that a worker keeps, at about 200 bytes each.
MOST = 100_000

# Rows of old days that one exchange removes: a few milliseconds of the database's.
_REMOVED = 1_000

# All workers lock the rows in the same order, so none waits for one that waits for it.
_ADD = """
INSERT INTO failed_attempt AS f (day, key, attempts, spent)
SELECT $1, t.key, t.attempts, CASE WHEN t.attempts >= $4 THEN pg_current_xact_id() END
FROM unnest($2::text[], $3::bigint[]) AS t (key, attempts)
ORDER BY t.key COLLATE "C"
ON CONFLICT (day, key) DO UPDATE SET
    attempts = f.attempts + excluded.attempts,
    spent = coalesce(
        f.spent,
        CASE WHEN f.attempts + excluded.attempts >= $4 THEN pg_current_xact_id() END
    )
RETURNING key, attempts
"""

# Those below the xmin of the snapshot before were seen then. The newest, if there are too many.
_LEARN = """
SELECT
    pg_snapshot_xmin(pg_current_snapshot())::text AS ended,
    array(
        SELECT key FROM failed_attempt
        WHERE day = $1 AND spent >= $2::text::xid8
        ORDER BY spent DESC LIMIT $3
    ) AS keys
"""

# Never waits, so that it can come after rows that are locked. The day before is left to workers
# whose clocks are late.
_REMOVE = """
WITH old AS (
    SELECT day, key FROM failed_attempt
    WHERE day < $1::date - 1
    ORDER BY day, key LIMIT $2
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM failed_attempt AS f USING old
    WHERE f.day = old.day AND f.key = old.key
    RETURNING 1
)
SELECT count(*) FROM gone
"""


class Attempts:
    """Counts them for one worker, about ``most`` invoices; ``limit`` is by invoice and day.

    ``wall`` tells the day, in seconds since the epoch. When memory is full the invoice that has
    not failed for the longest is forgotten; if it fails again, the next exchange brings its total
    back. What was not written by then is lost, which takes ``most`` others between two exchanges.
    """

    def __init__(self, limit: int, most: int, wall: Callable[[], float]) -> None:
        self._limit = limit
        self._most = most
        self._wall = wall
        self._day = date.min
        # What is known of all workers, the least recently failed first. The two below have no
        # other keys: what came since the last ``collect``, and what it has set aside.
        self._total = OrderedDict[str, int]()
        self._fresh: dict[str, int] = {}
        self._aside: dict[str, int] = {}
        # A transaction id: all that reached the limit in older ones is known.
        self._ended = "0"
        self._tidy = False

    def __len__(self) -> int:
        return len(self._total)

    def spent(self, key: str) -> bool:
        """Whether an invoice has failed as often today as it may."""
        self._turn()
        return self._total.get(key, 0) >= self._limit

    def failed(self, key: str, count: int = 1) -> None:
        """An invoice was asked about in vain. Beyond the limit nothing more is written."""
        self._turn()
        known = self._total.get(key, 0)
        if known < self._limit:
            self._fresh[key] = self._fresh.get(key, 0) + count
        self._know(key, known + count)

    def has_news(self) -> bool:
        """Whether anything is to be written, or nothing was read today."""
        self._turn()
        return bool(self._fresh or self._aside) or self._ended == "0"

    def collect(self) -> None:
        """Set aside what is to be written next, beside what was set aside and never committed."""
        self._turn()
        for key, count in self._fresh.items():
            self._aside[key] = self._aside.get(key, 0) + count
        self._fresh = {}

    async def write(self, connection: asyncpg.Connection) -> None:
        """Add what was set aside, and learn what others have; inside a transaction.

        Raises what the database raises.
        """
        day, limit = self._day, self._limit
        keys, counts = list(self._aside), list(self._aside.values())
        totals = await connection.fetch(_ADD, day, keys, counts, limit) if keys else ()
        learnt = await connection.fetchrow(_LEARN, day, self._ended, self._most)
        assert learnt is not None
        if not self._tidy:
            removed = await connection.fetchval(_REMOVE, day, _REMOVED)
            self._tidy = removed < _REMOVED
        if day != self._day:
            return
        for key, total in totals:
            if key in self._total:
                # Never less than before: a promoted replica may lack what was written last.
                known = total + self._fresh.get(key, 0)
                self._total[key] = max(self._total[key], known)
        for key in reversed(learnt["keys"]):
            if self._total.get(key, 0) < limit:
                self._know(key, limit)
        self._ended = learnt["ended"]

    def written(self) -> None:
        """What was set aside is committed."""
        self._aside = {}

    def _know(self, key: str, total: int) -> None:
        """Note an invoice as the one that failed last."""
        self._total[key] = total
        self._total.move_to_end(key)
        if len(self._total) > self._most:
            oldest, _ = self._total.popitem(last=False)
            self._fresh.pop(oldest, None)
            self._aside.pop(oldest, None)

    def _turn(self) -> None:
        """Begin anew when the day has changed; what was not written of the last one is over."""
        today = datetime.fromtimestamp(self._wall(), SHANGHAI).date()
        if today != self._day:
            self._day = today
            self._total.clear()
            self._fresh, self._aside = {}, {}
            self._ended, self._tidy = "0", False
