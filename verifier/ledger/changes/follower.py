"""The change log, followed on the server that serves the reads.

Sequence numbers commit out of order, so a follower cannot remember the last one alone. It
remembers the gaps too: the numbers below the last one that it has not seen, which belong to
transactions that are open, or were rolled back. Each look asks for what comes after the last one
and for the gaps: that costs what is new, however long some transaction stays open.

A gap is given up once all have ended that may have had its numbers. Whoever takes a number has its
transaction id by then (the trigger runs after a row was written), so those are the ids that had
been given out when the gap was found. The next id to be given out says which these are, and
``pg_snapshot_xmin`` below which all have ended; both are right on a standby too, while its
snapshots list no open transactions.

What is pruned is noted with its horizon (pruning.py): a follower whose own is not as far may have
missed something, and says so. So it does while there are more gaps than can be looked at each time,
thousands of rollbacks behind one open transaction: then memory is of no use until that ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import asyncpg

from verifier.config import ChangeLog
from verifier.ledger.changes.gaps import Gaps

# A page of the log ends with the row, of at most 1,000 keys, that makes it this many keys: some
# 0.8 MB, and a few milliseconds of this process.
_PAGE_KEYS = 32_000

# The server has to unpack the keys of all rows that are asked for to know where the page ends. So
# the first page is of few rows, which may be full ones. The rows of a later page are as many as
# should have the keys of one by what came before, at most _GROWTH times as many as that.
_FIRST_ROWS = 32
_GROWTH = 4
_MOST_ROWS = 2_048

# What is there when following begins is looked at so many numbers at a time: some 10 ms.
_BEGIN_ROWS = 20_000

# Below which id all transactions have ended, the next id to be given out, and below which changes
# may have been pruned. age() counts from that next id, which is widened to the first's 64 bits.
_IDS = """
SELECT
    ended,
    ended + ((age('3'::xid)::bigint + 3 - ended) & 4294967295) AS next,
    (
        SELECT horizon::text::bigint FROM ledger_change_horizon
        WHERE pruned ORDER BY horizon DESC LIMIT 1
    ) AS pruned
FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS ended) AS snapshot
"""

# The first rows after a place among the numbers that are asked for. One statement has one
# snapshot: the ids are those of the rows. Without rows there is one row with the ids alone.
_LOOK = f"""
SELECT ids.ended, ids.next, ids.pruned, page.seq, page.everything, page.keys
FROM ({_IDS}) AS ids LEFT JOIN LATERAL (
    SELECT
        new.seq,
        new.everything,
        new.keys,
        sum(cardinality(new.keys)) OVER (ORDER BY new.seq) - cardinality(new.keys) AS keys_before
    FROM (
        SELECT part.seq, part.everything, part.keys
        FROM unnest($1::bigint[], $2::bigint[]) AS gap (first, last)
        CROSS JOIN LATERAL (
            SELECT seq, everything, keys
            FROM ledger_change
            WHERE seq BETWEEN greatest(gap.first, $3 + 1) AND gap.last
            ORDER BY seq
            LIMIT $4
        ) AS part
        ORDER BY part.seq
        LIMIT $4
    ) AS new
) AS page ON page.keys_before < $5
"""  # noqa: S608 - made of constants

# The next numbers after one that are there, as runs without a gap.
_RUNS = """
SELECT min(seq), max(seq), sum(count(*)) OVER ()
FROM (
    SELECT seq, seq - row_number() OVER (ORDER BY seq) AS run
    FROM (SELECT seq FROM ledger_change WHERE seq > $1 ORDER BY seq LIMIT $2) AS numbers
) AS numbered
GROUP BY run
ORDER BY run
"""

_LAST = (1 << 63) - 1


class Changes(Protocol):
    """Who hears of changes before a reading is published that shows them."""

    @property
    def applied(self) -> int:
        """How many times changes were applied; a reading published now comes after these."""

    async def apply(self, keys: Sequence[str], *, everything: bool) -> None:
        """Take note that these keys have changed, or that all may have."""


class Follower:
    """Reads the change log of one server over one connection, from the moment it begins.

    ``seconds`` bounds each query, ``bounds`` what is kept track of. ``now`` is by the steady clock.
    """

    def __init__(
        self, connection: asyncpg.Connection, seconds: float, bounds: ChangeLog, now: float
    ) -> None:
        self._connection = connection
        self._seconds = seconds
        self._bounds = bounds
        self._look: Callable[..., Awaitable[list[asyncpg.Record]]]
        self._gaps: Gaps
        # Below this id all transactions had ended at the last look.
        self._ended: int
        # Until all below this id have ended, there are more gaps than can be looked at.
        self._blind_until: int
        # All that began before the first moment have ended; those that began before the second,
        # when the next id was that, may not have.
        self._ended_by = now
        self._open_since: tuple[float, int]

    @classmethod
    async def begin(
        cls, connection: asyncpg.Connection, seconds: float, bounds: ChangeLog, now: float
    ) -> Follower:
        """Begin now: what was committed before is in every read that begins later."""
        follower = cls(connection, seconds, bounds, now)
        async with asyncio.timeout(seconds):
            follower._look = (await connection.prepare(_LOOK)).fetch
        await follower._begin()
        follower._open_since = now, (await follower._ids())[1]
        return follower

    async def catch_up(self, changes: Changes, now: float) -> bool:
        """Apply all that is visible when this is called. Raises what the database raises.

        False when some of it was not heard, because it was pruned, or because there are too many
        keys or gaps to keep track of: then what was found until now must not be believed any more.
        Of too many keys only their numbers are read then, since no reading is published meanwhile.

        Until it has returned nothing new is sure. Pages come in the order of the numbers, not of
        the commits: a change that any later state shows may be on the last one.
        """
        if self._blind_until:
            ended, next_id, _ = await self._ids()
            self._note(ended, next_id, now)
            if ended >= self._blind_until:
                # All have ended that may have had the numbers up to the last one.
                await self._begin(self._gaps.top)
            return False
        gaps = self._gaps
        ended_first: int | None = None
        place, limit, heard = 0, _FIRST_ROWS, 0
        while True:
            firsts = [*(gap.first for gap in gaps.below), gaps.top + 1]
            lasts = [*(gap.last for gap in gaps.below), _LAST]
            async with asyncio.timeout(self._seconds):
                rows = await self._look(firsts, lasts, place, limit, _PAGE_KEYS)
            ended, next_id, pruned = rows[0][:3]
            if pruned is not None and pruned > self._ended:
                await self._begin()
                return False
            if ended_first is None:
                # That of the first page: later ones may see what it did not.
                ended_first = ended
                self._note(ended, next_id, now)
            if rows[0][3] is None:
                break
            keys = [key for row in rows for key in row[5]]
            heard += len(keys)
            if heard > self._bounds.max_backlog:
                # Not from 0: that reads all numbers that are kept, and asks again for those of
                # transactions that came to nothing long ago.
                await self._begin(gaps.settled)
                return False
            await changes.apply(keys, everything=any(row[4] for row in rows))
            for row in rows:
                gaps.see(row[3], row[3], next_id)
            place = rows[-1][3]
            if len(rows) < limit and len(keys) < _PAGE_KEYS:
                break
            limit = _rows_after(len(rows), len(keys))
        gaps.end(ended_first)
        self._ended = ended_first
        if gaps.too_many:
            self._blind_until = next_id
        return not gaps.too_many

    def open_for(self, now: float) -> float:
        """Seconds for which some transaction has been open at least, about; it delays pruning."""
        return now - self._ended_by

    async def _begin(self, after: int = 0) -> None:
        """Find out which numbers have been written after one, and which are missing among them."""
        ended = (await self._ids())[0]
        runs: list[tuple[int, int]] = []
        count = _BEGIN_ROWS
        while count == _BEGIN_ROWS:
            async with asyncio.timeout(self._seconds):
                page = await self._connection.fetch(
                    _RUNS, runs[-1][1] if runs else after, _BEGIN_ROWS
                )
            runs += [(first, last) for first, last, _ in page]
            count = page[0][2] if page else 0
        bound = (await self._ids())[1]
        self._gaps = Gaps(self._bounds.max_gaps, after)
        for first, last in runs:
            self._gaps.see(first, last, bound)
        self._ended = ended
        self._blind_until = bound if self._gaps.too_many else 0

    def _note(self, ended: int, next_id: int, now: float) -> None:
        since, bound = self._open_since
        if ended >= bound:
            self._ended_by = since
            self._open_since = now, next_id

    async def _ids(self) -> tuple[int, int, int | None]:
        async with asyncio.timeout(self._seconds):
            ((ended, next_id, pruned),) = await self._connection.fetch(_IDS)
        return ended, next_id, pruned


def _rows_after(rows: int, keys: int) -> int:
    """How many rows the next page should have, after one of so many rows and keys."""
    growth = min(_GROWTH, _PAGE_KEYS // max(1, keys))
    return min(max(_FIRST_ROWS, growth * rows), _MOST_ROWS)
