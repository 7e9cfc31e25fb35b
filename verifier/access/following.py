"""How a worker hears of tenants and keys: on each database that it watches, at every look.

The discipline is the change log's (ledger/changes/follower.py), but the tables are their own log:
a row has the transaction that wrote it last. A look asks for the rows of all transactions that had
not ended at the look before, without those that it has seen since: a transaction is visible as a
whole. So nothing is passed over, however late it commits, and nothing is read twice while some
other transaction stays open for hours.
"""

from __future__ import annotations

import asyncio

import asyncpg
import msgspec
import structlog

from verifier.access.callers import KeyState, TenantState, Version
from verifier.access.keyring import Keyring

log = structlog.get_logger()

# Without rows there is one row with the horizon alone.
_LOOK = """
SELECT ids.ended, item.topic, item.changed, item.state
FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS ended) AS ids
LEFT JOIN LATERAL (
    SELECT
        'tenant' AS topic,
        changed::text::bigint AS changed,
        jsonb_build_object('id', id, 'name', name, 'rate', rate, 'burst', burst)::text AS state
    FROM tenant
    WHERE changed >= $1::text::xid8 AND changed <> ALL($2::text[]::xid8[])
    UNION ALL
    SELECT
        'key',
        changed::text::bigint,
        jsonb_build_object(
            'id', id,
            'tenant', tenant,
            'digest', encode(digest, 'hex'),
            'scopes', scopes,
            'until', extract(epoch FROM expires_at)::double precision,
            'revoked', revoked_at IS NOT NULL,
            'rate', rate,
            'burst', burst,
            'tight_rate', tight_rate,
            'tight_until', coalesce(extract(epoch FROM tight_until)::double precision, 0)
        )::text
    FROM access_key
    WHERE changed >= $1::text::xid8 AND changed <> ALL($2::text[]::xid8[])
) AS item ON TRUE
"""

# Rows that are put between two rounds of the event loop: some 0.5 ms.
_AT_ONCE = 200


class _Row(msgspec.Struct, frozen=True):
    """What any row has."""

    id: int
    tenant: int = 0
    digest: str | None = None


class Following:
    """Follows the keys on one database. ``seconds`` bounds the query."""

    def __init__(self, keyring: Keyring, seconds: float) -> None:
        self._keyring = keyring
        self._seconds = seconds
        # All transactions below have ended, and were seen; those from there on that were seen.
        self._ended = 0
        self._seen: set[int] = set()

    async def follow(
        self, connection: asyncpg.Connection, *, anew: bool, timeline: int, as_of: float
    ) -> None:
        """Hear of what has changed since the last look, or of everything ``anew``.

        ``as_of`` (steady clock) is how new the state is at least. Raises what the database raises.
        """
        if anew:
            self._ended, self._seen = 0, set()
        async with asyncio.timeout(self._seconds):
            rows = await connection.fetch(_LOOK, str(self._ended), list(map(str, self._seen)))
        for place, (_, topic, changed, state) in enumerate(rows):
            if topic is None:
                break
            if place % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
            self._put(topic, state, (timeline, changed))
        ended = rows[0][0]
        self._seen.update(changed for _, topic, changed, _ in rows if topic is not None)
        self._seen = {xid for xid in self._seen if xid >= ended}
        self._ended = ended
        self._keyring.shown(as_of)

    def _put(self, topic: str, state: str, version: Version) -> None:
        """Tell the keyring of a row; one that cannot be read must not end the watch."""
        try:
            if topic == "tenant":
                tenant = msgspec.json.decode(state, type=TenantState)
                self._keyring.put_tenant(tenant, version)
            else:
                self._keyring.put_key(msgspec.json.decode(state, type=KeyState), version)
        # Numbers that no limit can have, too.
        except (ValueError, OverflowError) as error:
            row = msgspec.json.decode(state, type=_Row)
            log.error("row not understood", table=topic, row=row.id, error=str(error))
            if row.digest is not None:
                # Whatever it may do, it is not known: so nothing.
                nothing = KeyState(row.id, row.tenant, row.digest, frozenset(), revoked=True)
                self._keyring.put_key(nothing, version)
