"""Servers: what a server says of itself, on whichever connection it is asked."""

from __future__ import annotations

from typing import NamedTuple

import asyncpg

# The role is asked once: a standby may be promoted in the middle, and a position of its new
# timeline must not pass for one of the old. The position is the flushed one: it covers what is
# acknowledged, since that waits for the flush, and a replica can reach it, which is not so of the
# insert position while the primary is idle.
POSITION = """
SELECT
    standby,
    CASE WHEN standby THEN coalesce(
        (SELECT received_tli FROM pg_stat_wal_receiver),
        (SELECT nullif(min_recovery_end_timeline, 0) FROM pg_control_recovery()),
        (SELECT timeline_id FROM pg_control_checkpoint())
    ) ELSE
        ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::int
    END,
    (CASE
        WHEN standby THEN coalesce(pg_last_wal_replay_lsn(), '0/0')
        ELSE pg_current_wal_flush_lsn()
    END - '0/0'::pg_lsn)::bigint,
    NOT standby
    OR EXISTS (SELECT FROM pg_stat_wal_receiver WHERE received_tli IS NOT NULL)
FROM (SELECT pg_is_in_recovery() AS standby OFFSET 0) AS role
"""

_STATE = f"""
SELECT system_identifier::text, said.* FROM pg_control_system(), LATERAL ({POSITION}) AS said
"""  # noqa: S608 - made of constants

_IDENTITY = """
SELECT system_identifier || ' ' || extract(epoch FROM pg_postmaster_start_time())
FROM pg_control_system()
"""


class ServerState(NamedTuple):
    """The system identifier of a server's cluster, whether it is a standby, and its timeline."""

    cluster: str
    in_recovery: bool
    timeline: int


async def state_of(connection: asyncpg.Connection) -> ServerState:
    """What the server at the other end is now. Raises what the database raises."""
    ((cluster, in_recovery, timeline, _, _),) = await connection.fetch(_STATE)
    return ServerState(cluster, in_recovery, timeline)


async def identity_of(connection: asyncpg.Connection) -> str:
    """Which cluster this is, and which start of which server. Raises what the database raises."""
    identity: str = await connection.fetchval(_IDENTITY)
    return identity


def cluster_of(identity: str) -> str:
    """The part of an identity that a primary and its replicas share."""
    return identity.partition(" ")[0]
