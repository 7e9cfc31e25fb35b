"""Probes: what a server says about its state. What that proves is history.py's matter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import asyncpg
import msgspec

# A replica that was too far behind is itself again after so many probes in a row that found it
# within the bound: two seconds at the default interval, so that one which falls behind again and
# again is not taken up each time that it has caught up for a moment.
SETTLING_PROBES = 8

# The role is asked once: a standby may be promoted in the middle, and a position of its new
# timeline must not pass for one of the old. The position is the flushed one: it covers what is
# acknowledged, since that waits for the flush, and a replica can reach it, which is not so of the
# insert position while the primary is idle.
_POSITION = """
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

# A statement of its own, after the position: in the same one the snapshot would be older than the
# position that dates it, by as long as the server was kept from going on in between.
_WATERMARKS = """
SELECT region, extract(epoch FROM complete_until)::float8 FROM region_watermark ORDER BY region
"""

_IDENTITY = """
SELECT system_identifier || ' ' || extract(epoch FROM pg_postmaster_start_time())
FROM pg_control_system()
"""

_SIGNING_KEY = "SELECT value FROM service_secret WHERE name = 'consistency_token'"


_Fetch = Callable[[], Awaitable[list[asyncpg.Record]]]


class Probe(msgspec.Struct, frozen=True):
    """One answer. ``began`` is when it was asked; ``lsn`` is replayed or flushed, in bytes.

    ``certain`` says that the position is not of a higher timeline than it says: a standby that does
    not tell which one it receives only tells which one it noted down last.
    """

    began: float
    in_recovery: bool
    timeline: int
    lsn: int
    watermarks: Mapping[str, float]
    certain: bool = True


class Prober:
    """Asks one server over one connection. ``secret`` is the key that signs consistency tokens."""

    def __init__(self, identity: str, secret: bytes, position: _Fetch, watermarks: _Fetch) -> None:
        self.identity = identity
        self.secret = secret
        self._position = position
        self._watermarks = watermarks

    @classmethod
    async def over(cls, connection: asyncpg.Connection) -> Prober:
        """A prober, with its statements prepared."""
        return cls(
            await identity_of(connection),
            await connection.fetchval(_SIGNING_KEY),
            (await connection.prepare(_POSITION)).fetch,
            (await connection.prepare(_WATERMARKS)).fetch,
        )

    async def probe(self, began: float) -> Probe:
        """What the server says when it is asked now."""
        ((in_recovery, timeline, lsn, certain),) = await self._position()
        watermarks = {row[0]: row[1] for row in await self._watermarks()}
        return Probe(began, in_recovery, timeline, lsn, watermarks, certain)


_STATE = f"""
SELECT system_identifier::text, said.* FROM pg_control_system(), LATERAL ({_POSITION}) AS said
"""  # noqa: S608 - made of constants


async def state_of(connection: asyncpg.Connection) -> tuple[str, bool, int]:
    """Which cluster's server this is, whether it is a standby, and its timeline."""
    ((cluster, in_recovery, timeline, _, _),) = await connection.fetch(_STATE)
    return cluster, in_recovery, timeline


async def identity_of(connection: asyncpg.Connection) -> str:
    """Which cluster this is, and which start of which server."""
    identity: str = await connection.fetchval(_IDENTITY)
    return identity


def cluster_of(identity: str) -> str:
    """The part of an identity that a primary and its replicas share."""
    return identity.partition(" ")[0]
