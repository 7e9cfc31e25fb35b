"""Keys for the end-to-end tests, made as an operator makes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from tests.e2e.support import Service
from tests.support import Database
from verifier.access.keys import Scope, digest, label
from verifier.access.store import Store, opened
from verifier.config import Config

PEPPER = "pepper-of-the-end-to-end-tests-1"

# How a service is started that asks for keys.
ON: dict[str, Any] = {"auth": "on", "key_peppers": (PEPPER,), "probe_interval": 0.05}


def label_of(key: str) -> str:
    """What a key is called in lists."""
    return label(digest(PEPPER.encode(), key))


def bearer(key: str) -> dict[str, str]:
    """The field that brings a key."""
    return {"Authorization": f"Bearer {key}"}


@asynccontextmanager
async def store_of(database: Database) -> AsyncIterator[Store]:
    """The keys of a database."""
    config = Config.of(primary_dsn=database.primary_dsn)
    async with opened(config, (PEPPER.encode(),)) as store:
        yield store


async def new_key(
    database: Database, name: str, *scopes: Scope, expires_at: datetime | None = None
) -> str:
    """A key of the tests' tenant."""
    async with store_of(database) as store:
        if "tests" not in [row.name for row in await store.tenants()]:
            await store.create_tenant("tests", None)
        return await store.create_key("tests", name, "live", scopes, expires_at=expires_at)


async def revoke(database: Database, key: str) -> None:
    """Have a key hold no more."""
    async with store_of(database) as store:
        await store.revoke_key(label_of(key))


async def known(service: Service, key: str, status: int) -> None:
    """Return when a service answers a question with a key so, within the staleness bound."""
    async with asyncio.timeout(2):
        while (await service.ask({}, **bearer(key)))[0] != status:
            await asyncio.sleep(0.01)
