"""The change feed, followed on the server that serves the reads.

Sequence numbers commit out of order, so a follower cannot remember the last one it saw. It
remembers a horizon: the transaction below which all have ended, as the snapshot of its last look
said (``pg_snapshot_xmin``; on a standby a transaction that is open on the primary holds it back
too). Each look takes all rows from the horizon on. Rows beyond it are visible as soon as their
transaction has committed and are applied at once; that one was applied already is remembered
until the horizon has passed it, or one long import would have everybody's changes read again and
again. (A snapshot of a standby lists no open transactions, so ``pg_visible_in_snapshot`` cannot
tell what an earlier look has seen.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import asyncpg

# A page of the feed is at most this many rows of at most 1,000 keys.
_PAGE_ROWS = 32

# One statement has one snapshot: the horizon is that of the rows. Without rows there is one row
# with the horizon alone.
_LOOK = """
SELECT
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
    page.xid::text::bigint, page.seq, page.everything, page.keys
FROM (SELECT 1) AS one LEFT JOIN LATERAL (
    SELECT xid, seq, everything, keys
    FROM ledger_change
    WHERE
        xid >= $1::bigint::text::xid8
        AND (xid, seq) > ($3::bigint::text::xid8, $4::bigint)
        AND xid::text::bigint <> ALL($2::bigint[])
    ORDER BY xid, seq
    LIMIT $5
) AS page ON TRUE
"""

_HORIZON = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"


class Changes(Protocol):
    """Who hears of changes before a reading is published that shows them."""

    @property
    def applied(self) -> int:
        """How many times changes were applied; a reading published now comes after these."""

    async def apply(self, keys: Sequence[str], *, everything: bool) -> None:
        """Take note that these keys have changed, or that all may have."""


class Follower:
    """Reads the feed of one server, from the moment it begins. ``seconds`` bounds each query."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._look: Callable[..., Awaitable[list[asyncpg.Record]]]
        self._horizon = 0
        # Transactions from the horizon on whose rows were applied.
        self._applied: set[int] = set()

    async def begin(self, connection: asyncpg.Connection) -> None:
        """Begin now: what was committed before is in every read that begins later."""
        await self.resume(connection)
        async with asyncio.timeout(self._seconds):
            self._horizon = await connection.fetchval(_HORIZON)

    async def resume(self, connection: asyncpg.Connection) -> None:
        """Go on over another connection to the same server."""
        async with asyncio.timeout(self._seconds):
            self._look = (await connection.prepare(_LOOK)).fetch

    async def catch_up(self, changes: Changes) -> None:
        """Apply all that is visible when this is called. Raises what the database raises."""
        horizon: int | None = None
        xid = seq = 0
        seen: set[int] = set()
        while True:
            async with asyncio.timeout(self._seconds):
                rows = await self._look(self._horizon, list(self._applied), xid, seq, _PAGE_ROWS)
            if horizon is None:
                # That of the first page: later ones may see what it did not.
                horizon = rows[0][0]
            if rows[0][1] is None:
                break
            keys = [key for row in rows for key in row[4]]
            await changes.apply(keys, everything=any(row[3] for row in rows))
            _, xid, seq, _, _ = rows[-1]
            seen.update(row[1] for row in rows)
            if len(rows) < _PAGE_ROWS:
                break
        self._applied = {each for each in self._applied | seen if each >= horizon}
        self._horizon = horizon
