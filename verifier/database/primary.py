"""The primary as writers see it: a few connections, each of which serves one transaction at a time.

A primary that a failover has left behind is not written: neither one that is found so when the
connection is made, nor one that has become so by the time of the COMMIT.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from verifier.config import Databases, Ingest
from verifier.database.connections import FAILURES, open_writer, or_terminated
from verifier.database.hosts import find, single_hosts
from verifier.database.scouts import survey
from verifier.database.servers import state_of
from verifier.database.timelines import Timelines
from verifier.database.transactions import Transaction, translated
from verifier.errors import ConfigError, Unavailable
from verifier.state import Position


class Primary:
    """Up to ``Ingest.write_connections`` connections to the primary; of one event loop.

    ``setup`` is SQL, if any, that each new connection runs first. ``timelines`` are what the
    servers have shown to the watch beside this; without one, the replicas are asked before the
    first connection.
    """

    def __init__(
        self,
        config: Databases,
        ingest: Ingest,
        setup: str = "",
        timelines: Timelines | None = None,
    ) -> None:
        if not config.primary_dsn:
            raise ConfigError("VERIFIER_PRIMARY_DSN is not set; expected the DSN of the primary")
        self._config = config
        self._ingest = ingest
        self._setup = setup
        self._hosts = single_hosts(config.primary_dsn)
        self._surveyed = timelines is not None
        self._timelines = timelines or Timelines()
        self._places = asyncio.Semaphore(ingest.write_connections)
        self._idle: list[asyncpg.Connection] = []
        self._cluster = ""

    async def close(self) -> None:
        """Drop the connections that are not in use; the others go with their transactions."""
        while self._idle:
            self._idle.pop().terminate()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A transaction on a connection that nobody else uses.

        Raises Unavailable: ``overloaded`` when all connections stay taken for connect_timeout,
        ``read_only`` and ``old_timeline`` when there is no primary that may be written.
        """
        try:
            async with asyncio.timeout(self._config.connect_timeout):
                await self._places.acquire()
        except TimeoutError:
            raise Unavailable("overloaded") from None
        try:
            with translated():
                # An idle connection may lead to nowhere, a silent host has as long as any, and the
                # one that answers must be left some time.
                async with asyncio.timeout(3 * self._config.connect_timeout):
                    transaction = await Transaction.begin(await self._connection())
            try:
                yield transaction
            finally:
                if await transaction.end():
                    self._idle.append(transaction.connection)
        finally:
            self._places.release()

    async def commit(self, transaction: Transaction) -> Position:
        """COMMIT; the position in the log that covers it.

        Raises Unavailable: after ``old_timeline``, as after ``no_database`` and ``timeout``, nobody
        knows whether what was written is there.
        """
        position = await transaction.commit()
        # Meanwhile another server may have become the primary, which this one does not know.
        self._refuse_outdated(position.timeline)
        return position

    async def _connection(self) -> asyncpg.Connection:
        idle = await self._idle_connection()
        if idle is not None:
            return idle
        if not self._surveyed:
            await survey(self._config.replica_dsns, self._timelines, self._config)
            self._surveyed = True
        await self._timelines.heard()
        seconds = self._config.connect_timeout
        found = await find(self._hosts, "primary", self._open, seconds, self._timelines)
        with or_terminated(found.connection):
            if found.in_recovery:
                raise Unavailable("read_only")
            self._cluster = found.cluster
            self._timelines.noticed(found.cluster, found.timeline)
            self._refuse_outdated(found.timeline)
            if self._setup:
                await found.connection.execute(self._setup)
        return found.connection

    async def _idle_connection(self) -> asyncpg.Connection | None:
        """One that still leads to the primary; when one leads nowhere, the others go as well."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_closed():
                continue
            try:
                with or_terminated(connection):
                    async with asyncio.timeout(self._config.connect_timeout / 2):
                        state = await state_of(connection)
                    self._refuse_outdated(state.timeline)
            except FAILURES:
                await self.close()
            else:
                return connection
        return None

    async def _open(self, dsn: str) -> asyncpg.Connection:
        return await open_writer(dsn, self._config, self._ingest)

    def _refuse_outdated(self, timeline: int) -> None:
        if self._timelines.outdated(self._cluster, timeline):
            raise Unavailable("old_timeline")
