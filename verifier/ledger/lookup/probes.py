"""Probes: what a server says about its state. What that proves is dating.py's matter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import asyncpg
import msgspec

from verifier.database.servers import POSITION, identity_of

# A statement of its own, after the position: in the same one the snapshot would be older than the
# position that dates it, by as long as the server was kept from going on in between.
_WATERMARKS = """
SELECT region, extract(epoch FROM complete_until)::float8 FROM region_watermark ORDER BY region
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
            (await connection.prepare(POSITION)).fetch,
            (await connection.prepare(_WATERMARKS)).fetch,
        )

    async def probe(self, began: float) -> Probe:
        """What the server says when it is asked now."""
        ((in_recovery, timeline, lsn, certain),) = await self._position()
        watermarks = {row[0]: row[1] for row in await self._watermarks()}
        return Probe(began, in_recovery, timeline, lsn, watermarks, certain)
