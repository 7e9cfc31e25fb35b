"""What tests of several folders share."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import asyncpg
import pytest

from verifier.access.keys import Scope
from verifier.access.limits import Shares
from verifier.access.store import opened
from verifier.cli.balancer import program
from verifier.config import Config
from verifier.database.timelines import Timelines
from verifier.errors import ConfigError
from verifier.ledger.ingest.writer import Writer

T = TypeVar("T")


class Database(NamedTuple):
    """A fresh database: the same one on the primary and, through replication, on each replica."""

    name: str
    primary_dsn: str
    replica_dsns: tuple[str, ...]


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the test's own."""
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


def variables(**settings: object) -> dict[str, str]:
    """Settings by their names, as the environment of a program that is started has them.

    Keys are not asked for, unless the settings say so: few tests are about them.
    """
    given = {"auth": "off"} | settings
    return {f"VERIFIER_{name.upper()}": str(value) for name, value in given.items()}


def writer_of(config: Config, timelines: Timelines | None = None) -> Writer:
    """A writer with these settings."""
    return Writer(config.databases, config.ingest, config.requests.max_line, timelines)


def require_tool(name: str, found: bool | None = None) -> None:
    """Skip the test where a tool is missing; fail it where CI=true, which has all of them.

    ``found`` replaces the search for a program called ``name``, e.g. for an importable module or
    for a right.
    """
    if shutil.which(name) is not None if found is None else found:
        return
    reason = f"{name} is missing"
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, and CI=true expects it", pytrace=False)
    pytest.skip(reason)


def require_haproxy() -> None:
    """The same for HAProxy, which Debian has where only root looks."""
    installed = True
    try:
        program()
    except ConfigError:
        installed = False
    require_tool("haproxy", installed)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end in a loop of its own, leaving the current one of the test as it is."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(work)


@asynccontextmanager
async def other_work() -> AsyncIterator[Counter[str]]:
    """Work that wants each round of the event loop, beside what is tested; counts ``rounds``."""
    done = Counter[str]()

    async def work() -> None:
        while True:
            done["rounds"] += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(work())
    try:
        yield done
    finally:
        task.cancel()


async def wait_replayed(
    primary_dsn: str, replica_dsns: Iterable[str], within: float = 10.0
) -> None:
    """Return when each replica has replayed all that the primary has written until now."""
    primary = await asyncpg.connect(primary_dsn)
    try:
        target = await primary.fetchval("SELECT pg_current_wal_insert_lsn()")
        # What an aborted transaction wrote last may wait in memory for the WAL writer's next round.
        await primary.fetchval("SELECT pg_logical_emit_message(true, 'flush', '')")
    finally:
        await primary.close()
    async with asyncio.timeout(within):
        for dsn in replica_dsns:
            replica = await asyncpg.connect(dsn)
            try:
                sql = "SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn"
                while not await replica.fetchval(sql, target):
                    await asyncio.sleep(0.005)
            finally:
                await replica.close()


# For keys of tests.
PEPPER = "a pepper of tests that is long enough"


async def made_key(dsn: str, scopes: Sequence[Scope] = ("verify", "explain")) -> str:
    """A new key of a tenant of its own, on a primary whose schema is up to date."""
    tenant = f"tenant-{token_hex(4)}"
    async with opened(Config.of(primary_dsn=dsn), (PEPPER.encode(),)) as store:
        await store.create_tenant(tenant, None)
        return await store.create_key(tenant, "test", "test", scopes)


def no_shares() -> Shares:
    """What a keyring needs where no limits matter."""
    return Shares(UUID(int=0), lambda: 0.0)
