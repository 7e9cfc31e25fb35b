"""The ground that scenarios are played on: a cluster of its own with a ledger, and a load."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg

from tests.conftest import SETTINGS
from tests.faults.items import Items
from tests.faults.load import Load
from tests.faults.scenario import form
from tests.faults.service import Service
from tests.support import wait_replayed, writer_of
from verifier.config import Config
from verifier.database.migrate import migrate
from verifier.embedded import Cluster, Server


class Ground:
    """A primary, two replicas, the ledger in them, and the items and the load that go with it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.cluster = Cluster(path / "data", replicas=2, settings=SETTINGS)
        size = form()
        self.items = Items(size.rows)
        self.load = Load(self.items, size.rates, size.bound)

    async def start(self) -> None:
        """Start the servers and fill the ledger."""
        await self.cluster.start()
        dsn = self.cluster.primary.dsn
        await migrate(dsn)
        writer = writer_of(Config.of(primary_dsn=dsn))
        fed = await writer.ingest(_once(self.items.feed()))
        await writer.close()
        assert fed.rejected_count == 0
        await self.replayed()

    async def replayed(self) -> None:
        """Return when the replicas show all that there is."""
        replicas = [replica.dsn for replica in self.cluster.replicas]
        await wait_replayed(self.cluster.primary.dsn, replicas)

    @contextmanager
    def service(self, *more: str, **settings: object) -> Iterator[Service]:
        """A service over the servers; ``settings``, and ``workers``, in place of those of the form.

        ``more`` are options of ``verifier serve``.
        """
        size = form()
        replicas = ",".join(replica.dsn for replica in self.cluster.replicas)
        dsns = {"primary_dsn": self.cluster.primary.dsn, "replica_dsns": replicas}
        settings = {"workers": size.workers} | size.settings | dsns | settings
        workers = settings.pop("workers")
        assert isinstance(workers, int)
        service = Service(self._path / "service.log", workers, settings, *more)
        try:
            yield service
        finally:
            service.stop()


async def ask(server: Server, sql: str, *arguments: object) -> Any:
    """The one value that a statement gives, on a connection of its own."""
    connection = await asyncpg.connect(server.dsn, timeout=10)
    try:
        return await connection.fetchval(sql, *arguments)
    finally:
        await connection.close(timeout=5)


async def execute(server: Server, *statements: str) -> None:
    """Execute statements, each one by itself, on a connection of their own."""
    connection = await asyncpg.connect(server.dsn, timeout=10)
    try:
        for sql in statements:
            await connection.execute(sql)
    finally:
        await connection.close(timeout=5)


async def ended(task: asyncio.Task[None]) -> None:
    """End a task that goes on until it is cancelled; raises what ended it before."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _once(block: bytes) -> AsyncIterator[bytes]:
    yield block
