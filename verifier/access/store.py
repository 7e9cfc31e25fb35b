"""What operators do to tenants and keys, on the primary. Workers follow (following.py).

Every act is one transaction. A key is told once, to whoever makes it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg

from verifier.access import peppers, rows
from verifier.access.audit import Act, append, audit_secrets
from verifier.access.keys import Mode, Scope, digest, label, make
from verifier.access.rows import EventRow, KeyRow, Limit, TenantRow
from verifier.config import Config
from verifier.database.primary import Primary
from verifier.database.transactions import translated
from verifier.errors import ConfigError

_INSERT_KEY = """
INSERT INTO access_key (tenant, name, mode, digest, scopes, rate, burst, expires_at)
SELECT id, $2, $3, $4, $5, $6, $7, $8 FROM tenant WHERE name = $1
RETURNING id
"""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_LABEL = re.compile(r"[0-9a-f]{4,8}", re.ASCII)

# A key in the place of one that is held back is, too.
_HELD_BACK = """
UPDATE access_key AS k SET tight_rate = o.tight_rate, tight_until = o.tight_until
FROM access_key AS o WHERE k.digest = $1 AND encode(o.digest, 'hex') ^@ $2
"""

# Two at most, so that a rotation is one and not a second key for somebody else.
_MOST_LIVE = 2


@asynccontextmanager
async def opened(
    config: Config, given: Sequence[bytes], actor: str = "", address: str = ""
) -> AsyncIterator[Store]:
    """The store of the primary of some settings, for as long as the context lasts."""
    primary = Primary(config.databases, config.ingest)
    try:
        yield Store(primary, given, actor, address)
    finally:
        await primary.close()


class Store:
    """The tenants and keys of one primary, kept under the first of the ``given`` peppers.

    What ``actor``, from ``address``, does is in the audit log, for which a pepper is needed.

    Every method raises Unavailable for what the database raises, and ConfigError for what whoever
    asks has to mend.
    """

    def __init__(
        self,
        primary: Primary,
        given: Sequence[bytes],
        actor: str = "",
        address: str = "",
        *,
        choose: Callable[[str], str] = secrets.choice,
    ) -> None:
        self._primary = primary
        self._peppers = given
        self._actor = actor
        self._address = address
        self._choose = choose

    async def create_tenant(self, name: str, limit: Limit | None) -> None:
        """A new tenant."""
        _check(name)
        async with self._act() as connection:
            made = await connection.fetchval(
                "INSERT INTO tenant (name, rate, burst) VALUES ($1, $2, $3) "
                "ON CONFLICT (name) DO NOTHING RETURNING id",
                name,
                *_columns(limit),
            )
            if made is None:
                raise ConfigError(f"there is a tenant {name} already")
            await self._note(connection, "tenant.create", name, limit=limit)

    async def limit_tenant(self, name: str, limit: Limit | None) -> None:
        """Give a tenant another limit, or none."""
        async with self._act() as connection:
            changed = await connection.fetchval(
                "UPDATE tenant SET rate = $2, burst = $3 WHERE name = $1 RETURNING id",
                name,
                *_columns(limit),
            )
            if changed is None:
                raise ConfigError(_no_tenant(name))
            await self._note(connection, "tenant.limit", name, limit=limit)

    async def tenants(self) -> list[TenantRow]:
        """All tenants, by name."""
        async with self._act() as connection:
            return await rows.tenants(connection)

    async def create_key(
        self,
        tenant: str,
        name: str,
        mode: Mode,
        scopes: Sequence[Scope],
        *,
        limit: Limit | None = None,
        expires_at: datetime | None = None,
    ) -> str:
        """A new key, which is never told again. Its name must not have a live one (``rotate``)."""
        _check(name)
        async with self._act() as connection:
            if await self._live(connection, tenant, name):
                raise ConfigError(
                    f"{tenant} has a live key {name}; expected another name, or `keys rotate`"
                )
            key = make(mode, self._choose)
            await self._insert(connection, key, tenant, name, mode, scopes, limit, expires_at)
            return key

    async def ensure_key(
        self, tenant: str, name: str, key: str, mode: Mode, scopes: Sequence[Scope]
    ) -> None:
        """Have a key that was made before; nothing changes when it is there, revoked or not."""
        async with self._act() as connection:
            await connection.execute(
                "INSERT INTO tenant (name) VALUES ($1) ON CONFLICT (name) DO NOTHING", tenant
            )
            if not await connection.fetchval(
                "SELECT EXISTS (SELECT FROM access_key WHERE digest = $1)", self._digest(key)
            ):
                await self._insert(connection, key, tenant, name, mode, scopes, None, None)

    async def rotate_key(self, which: str, now: datetime, overlap: timedelta) -> tuple[str, KeyRow]:
        """A new key in the place of one, which holds that much longer at most; and the old one.

        The new one holds for as long as the old one did when it was made.
        """
        async with self._act() as connection:
            old = await self._one(connection, which)
            live = await self._live(connection, old.tenant, old.name)
            if live >= _MOST_LIVE:
                raise ConfigError(
                    f"{old.tenant} has {live} live keys {old.name} already; expected that the "
                    "older one is revoked first"
                )
            # Somebody may have revoked it meanwhile.
            ending = await connection.fetchval(
                "UPDATE access_key SET expires_at = least(expires_at, $2) "
                "WHERE encode(digest, 'hex') ^@ $1 AND revoked_at IS NULL RETURNING id",
                old.label,
                now + overlap,
            )
            if ending is None or not old.live:
                raise ConfigError(f"the key {which} does not hold any more; expected a live one")
            expires_at = None if old.expires_at is None else now + (old.expires_at - old.created_at)
            new = make(old.mode, self._choose)
            await self._insert(
                connection, new, old.tenant, old.name, old.mode, old.scopes, old.limit, expires_at
            )
            await connection.execute(_HELD_BACK, self._digest(new), old.label)
            await self._note(connection, "key.rotate", old.label, until=now + overlap)
        return new, old

    async def revoke_key(self, which: str) -> KeyRow:
        """Have a key hold no more, for good; that key, as it was."""
        async with self._act() as connection:
            old = await self._one(connection, which)
            await connection.execute(
                "UPDATE access_key SET revoked_at = coalesce(revoked_at, now()) "
                "WHERE encode(digest, 'hex') ^@ $1",
                old.label,
            )
            if old.revoked_at is None:
                facts = {"tenant": old.tenant, "name": old.name}
                await self._note(connection, "key.revoke", old.label, **facts)
        return old

    async def release_key(self, which: str) -> KeyRow:
        """Have a key that is held back ask as before; that key, as it was."""
        async with self._act() as connection:
            old = await self._one(connection, which)
            await connection.execute(
                "UPDATE access_key SET tight_until = NULL, tight_rate = NULL "
                "WHERE encode(digest, 'hex') ^@ $1",
                old.label,
            )
            await self._note(connection, "key.release", old.label, tenant=old.tenant, name=old.name)
        return old

    async def events(self, tenant: str | None, limit: int) -> list[EventRow]:
        """What was noticed of how a tenant, or all, ask: the newest so many."""
        async with self._act() as connection:
            return await rows.events(connection, tenant, limit)

    async def keys(self, tenant: str | None = None, which: str | None = None) -> list[KeyRow]:
        """All keys, by tenant and name; those of a tenant, or whose label begins so."""
        async with self._act() as connection:
            return await rows.keys(connection, tenant, which)

    async def key(self, which: str) -> KeyRow:
        """The key of a label."""
        async with self._act() as connection:
            return await self._one(connection, which)

    async def has_live_keys(self) -> bool:
        """Whether any key holds. ConfigError when keys are under other peppers."""
        async with self._act() as connection:
            await peppers.check(connection, self._peppers)
            return any(row.live for row in await rows.keys(connection, None, None))

    @asynccontextmanager
    async def _act(self) -> AsyncIterator[asyncpg.Connection]:
        async with self._primary.transaction() as transaction:
            with translated():
                yield transaction.connection
            await self._primary.commit(transaction)

    async def _note(
        self, connection: asyncpg.Connection, action: str, subject: str, **detail: object
    ) -> None:
        """Have it in the audit log, with the act itself; the last thing of a transaction."""
        await peppers.note(connection, self._peppers)
        secret = audit_secrets(self._peppers)[0]
        act = Act(
            at=datetime.now(UTC),
            actor=self._actor,
            action=action,
            subject=subject,
            address=self._address,
            detail=detail,
        )
        await append(connection, secret, act)

    def _digest(self, key: str) -> bytes:
        return digest(self._peppers[0], key)

    async def _insert(
        self,
        connection: asyncpg.Connection,
        key: str,
        tenant: str,
        name: str,
        mode: Mode,
        scopes: Sequence[Scope],
        limit: Limit | None,
        expires_at: datetime | None,
    ) -> None:
        kept = self._digest(key)
        made = await connection.fetchval(
            _INSERT_KEY, tenant, name, mode, kept, list(scopes), *_columns(limit), expires_at
        )
        if made is None:
            raise ConfigError(_no_tenant(tenant))
        facts = {"tenant": tenant, "name": name, "scopes": scopes, "expires_at": expires_at}
        await self._note(connection, "key.create", label(kept), **facts, limit=limit)

    async def _one(self, connection: asyncpg.Connection, which: str) -> KeyRow:
        if not _LABEL.fullmatch(which):
            # Not quoted: it may be a key.
            raise ConfigError("expected 4 to 8 digits of a label, as 03af9c in `keys list`")
        found = await rows.keys(connection, None, which)
        if len(found) != 1:
            many = "several keys have labels that begin so" if found else "no key has that label"
            raise ConfigError(f"{which!r}: {many}; expected one of `verifier keys list`")
        return found[0]

    async def _live(self, connection: asyncpg.Connection, tenant: str, name: str) -> int:
        """How many keys of a name hold; until the transaction ends, nobody else makes one."""
        await connection.execute("SELECT FROM tenant WHERE name = $1 FOR UPDATE", tenant)
        held = await rows.keys(connection, tenant, None)
        return sum(row.live for row in held if row.name == name)


def _columns(limit: Limit | None) -> tuple[float | None, int | None]:
    return (None, None) if limit is None else (limit.rate, limit.burst)


def _check(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r}: expected up to 63 small letters, digits and hyphens, like acme-erp"
        )


def _no_tenant(name: str) -> str:
    return f"there is no tenant {name}; expected one of `verifier tenants list`"
