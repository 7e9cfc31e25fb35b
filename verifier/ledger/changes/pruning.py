"""Pruning the change log of what every follower has had the time to see.

A change is visible once its transaction has ended, which may be long after it was written. So it
goes by horizons: below one that was noted a while ago, all have ended for at least that while. The
horizon is marked as pruned in the same transaction that removes what lies below it, so that a
follower which has not been that far notices.
"""

from __future__ import annotations

from datetime import timedelta

import asyncpg

# Only one worker prunes at a time; the lock ends with the transaction.
_LOCKED = "SELECT pg_try_advisory_xact_lock(hashtext('verifier prune'))"

_NOTE = """
INSERT INTO ledger_change_horizon (horizon, noted_at)
SELECT pg_snapshot_xmin(pg_current_snapshot()), clock_timestamp()
ON CONFLICT (horizon) DO NOTHING
"""

_MARK = """
UPDATE ledger_change_horizon SET pruned = TRUE
WHERE NOT pruned AND horizon = (
    SELECT horizon FROM ledger_change_horizon
    WHERE noted_at <= clock_timestamp() - $1::interval
    ORDER BY horizon DESC LIMIT 1
)
"""

_FORGET = """
DELETE FROM ledger_change_horizon
WHERE horizon < (
    SELECT horizon FROM ledger_change_horizon WHERE pruned ORDER BY horizon DESC LIMIT 1
)
"""

_REMOVE = """
WITH old AS (
    SELECT xid, seq
    FROM ledger_change
    WHERE xid < (
        SELECT horizon FROM ledger_change_horizon WHERE pruned ORDER BY horizon DESC LIMIT 1
    )
    ORDER BY xid, seq
    LIMIT $1
), gone AS (
    DELETE FROM ledger_change AS change USING old
    WHERE change.xid = old.xid AND change.seq = old.seq
    RETURNING 1
)
SELECT count(*) FROM gone
"""


async def prune(connection: asyncpg.Connection, kept: float, limit: int) -> int:
    """Remove up to ``limit`` changes that ended more than ``kept`` seconds ago; how many.

    Inside a transaction of the primary. Nothing happens while another one prunes.
    """
    if not await connection.fetchval(_LOCKED):
        return 0
    await connection.execute(_NOTE)
    await connection.execute(_MARK, timedelta(seconds=kept))
    await connection.execute(_FORGET)
    return int(await connection.fetchval(_REMOVE, limit))
