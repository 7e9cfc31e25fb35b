"""Tenants and keys as operators see them, read from the primary."""

from __future__ import annotations

from datetime import datetime

import asyncpg
import msgspec

from verifier.access.keys import Mode, Scope, label

_TENANTS = """
SELECT t.name, t.rate, t.burst, t.created_at, count(k.id) AS keys
FROM tenant AS t
LEFT JOIN access_key AS k
    ON k.tenant = t.id AND k.revoked_at IS NULL
    AND (k.expires_at IS NULL OR k.expires_at > now())
GROUP BY t.id ORDER BY t.name
"""

_KEYS = """
SELECT
    k.id,
    t.name AS tenant,
    k.name,
    k.mode,
    k.digest,
    k.scopes,
    k.created_at,
    k.expires_at,
    k.revoked_at,
    k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()) AS live,
    u.used_at,
    k.rate,
    k.burst,
    CASE WHEN k.tight_until > now() THEN k.tight_until END AS tight_until
FROM access_key AS k JOIN tenant AS t ON t.id = k.tenant
LEFT JOIN access_key_use AS u ON u.key = k.id
WHERE ($1::text IS NULL OR t.name = $1) AND ($2::text IS NULL OR encode(k.digest, 'hex') ^@ $2)
ORDER BY t.name, k.name, k.created_at
"""


_EVENTS = """
SELECT e.at, t.name AS tenant, k.digest, k.name, e.kind, e.detail
FROM access_event AS e
JOIN access_key AS k ON k.id = e.key
JOIN tenant AS t ON t.id = k.tenant
WHERE $1::text IS NULL OR t.name = $1
ORDER BY e.id DESC LIMIT $2
"""


class Limit(msgspec.Struct, frozen=True):
    """``rate`` units a second, of which ``burst`` may come at once."""

    rate: float
    burst: int


class TenantRow(msgspec.Struct, frozen=True):
    """A tenant; ``keys`` is how many of its keys hold."""

    name: str
    limit: Limit | None
    created_at: datetime
    keys: int


class KeyRow(msgspec.Struct, frozen=True):
    """A key without itself: ``label`` names it. ``live`` says whether it holds now."""

    label: str
    tenant: str
    name: str
    mode: Mode
    scopes: tuple[Scope, ...]
    limit: Limit | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None
    live: bool
    # Until when it is held back, if it is.
    tight_until: datetime | None


class EventRow(msgspec.Struct, frozen=True):
    """What was noticed of a key."""

    at: datetime
    tenant: str
    label: str
    name: str
    kind: str
    detail: str


async def events(connection: asyncpg.Connection, tenant: str | None, limit: int) -> list[EventRow]:
    """The newest so many, of a tenant or of all."""
    return [
        EventRow(row["at"], row["tenant"], label(row["digest"]), *row[3:])
        for row in await connection.fetch(_EVENTS, tenant, limit)
    ]


async def tenants(connection: asyncpg.Connection) -> list[TenantRow]:
    """All tenants, by name."""
    return [
        TenantRow(row["name"], _limit(row), row["created_at"], row["keys"])
        for row in await connection.fetch(_TENANTS)
    ]


async def keys(
    connection: asyncpg.Connection, tenant: str | None, which: str | None
) -> list[KeyRow]:
    """All keys, by tenant and name; those of a tenant, or whose label begins so."""
    return [_key_row(row) for row in await connection.fetch(_KEYS, tenant, which)]


def _key_row(row: asyncpg.Record) -> KeyRow:
    return KeyRow(
        label(row["digest"]),
        row["tenant"],
        row["name"],
        row["mode"],
        tuple(row["scopes"]),
        _limit(row),
        row["created_at"],
        row["expires_at"],
        row["revoked_at"],
        row["used_at"],
        row["live"],
        row["tight_until"],
    )


def _limit(row: asyncpg.Record) -> Limit | None:
    return None if row["rate"] is None else Limit(row["rate"], row["burst"])
