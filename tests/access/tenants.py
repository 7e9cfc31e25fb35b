"""What the tests of access share: callers without a keyring's looks, and tenants in a database."""

from __future__ import annotations

import secrets
from typing import NamedTuple

from tests.ledger.support import config
from tests.support import Database, connected
from verifier.access.callers import Caller, News, Tenant
from verifier.access.store import Store
from verifier.clocks import system_clocks
from verifier.database.migrate import migrate
from verifier.database.primary import Primary

PEPPER = "p" * 32
_NEWS = News(system_clocks())


def caller_of(key: int = 1, tenant: int = 1) -> Caller:
    """A caller with these ids."""
    return Caller(_NEWS, key, Tenant(tenant), secrets.token_bytes(32))


class Tenants(NamedTuple):
    """Tenants with a key each, in a database of their own."""

    database: Database
    dsn: str
    callers: dict[str, Caller]
    keys: dict[str, str]

    @classmethod
    async def made(cls, database: Database, *names: str) -> Tenants:
        """Bring a database up to date, and make them."""
        await migrate(database.primary_dsn)
        given = config(database)
        primary = Primary(given.databases, given.ingest)
        store = Store(primary, (PEPPER.encode(),))
        callers, keys = {}, {}
        async with connected(database.primary_dsn) as connection:
            for name in names:
                await store.create_tenant(name, None)
                keys[name] = await store.create_key(name, "erp", "live", ("verify", "explain"))
                ids = await connection.fetchrow(
                    "SELECT k.id, t.id FROM tenant AS t JOIN access_key AS k ON k.tenant = t.id "
                    "WHERE t.name = $1",
                    name,
                )
                assert ids is not None
                callers[name] = caller_of(*ids)
        await primary.close()
        return cls(database, database.primary_dsn, callers, keys)
