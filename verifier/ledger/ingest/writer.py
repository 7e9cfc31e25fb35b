"""Writer: the ledger feed, into the primary. Nothing is acknowledged before its COMMIT."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from itertools import count
from typing import Any, TypeVar

import asyncpg

from verifier.config import Databases, Ingest
from verifier.database.connections import FAILURES, open_writer, or_terminated
from verifier.errors import ConfigError, Unavailable
from verifier.ledger.changes.pruning import prune
from verifier.ledger.ingest.chunks import (
    UNKNOWN_INVOICE,
    Blocks,
    Chunk,
    FeedResult,
    Rejections,
    StatusChunk,
    WatermarkResult,
    row_chunks,
    status_chunks,
)
from verifier.ledger.ingest.merge import TEMPORARY_TABLES, Merge
from verifier.ledger.ingest.transaction import Position, Transaction, translated
from verifier.ledger.lookup.history import History
from verifier.ledger.lookup.hosts import find, single_hosts
from verifier.ledger.lookup.probes import state_of
from verifier.ledger.lookup.scouts import survey

C = TypeVar("C", Chunk, StatusChunk)

# How often a feed begins again that others are in the way of. Each time it has waited for one of
# them, and some have got on; beyond, it waits for something that is no feed.
_TRIES = 50

# Rows of the change log that one transaction removes: a fraction of a second.
_PRUNED_AT_ONCE = 10_000

# The row as it was under its lock: whoever is in the way has committed by then.
_SET_WATERMARK = """
INSERT INTO region_watermark (region, complete_until) VALUES ($1, $2)
ON CONFLICT (region) DO UPDATE SET complete_until = excluded.complete_until
RETURNING coalesce(old.complete_until > new.complete_until, FALSE)
"""


class Writer:
    """Feeds the ledger through up to ``Ingest.write_connections`` connections; one per event loop.

    Every method raises Unavailable when the primary cannot be written (``overloaded`` when all
    connections stay taken, ``conflict`` when another feed is in the way, ``timeout`` beyond
    ``Ingest.write_timeout``, ``old_timeline`` when a failover has left that primary behind). After
    ``no_database``, ``timeout`` and ``old_timeline`` the feed may or may not have been committed;
    feeding it again does no harm. ``history`` is what the servers have shown to a look-up beside
    this, if there is one.
    """

    def __init__(
        self, config: Databases, ingest: Ingest, max_line: int, history: History | None = None
    ) -> None:
        if not config.primary_dsn:
            raise ConfigError("VERIFIER_PRIMARY_DSN is not set; expected the DSN of the primary")
        self._config = config
        self._bounds = ingest
        self._max_line = max_line
        self._hosts = single_hosts(config.primary_dsn)
        self._history = history or History()
        # A look-up beside this hears the replicas all the time.
        self._surveyed = history is not None
        self._places = asyncio.Semaphore(ingest.write_connections)
        # Long feeds take turns anyway (turns.py): they need not do so with a connection each.
        self._long = asyncio.Lock()
        self._idle: list[asyncpg.Connection] = []
        self._cluster = ""

    async def close(self) -> None:
        """Drop the connections that are not in use; feeds under way end by themselves."""
        while self._idle:
            self._idle.pop().terminate()

    async def ingest(self, blocks: Blocks) -> FeedResult:
        """Bring invoices into the ledger, all in one transaction.

        Memory is bounded however long the feed is. Nothing is sent to the primary before the
        first 10,000 lines or the end have come, so that slow feeds do not hold connections.
        """
        rejections = Rejections()
        chunks = row_chunks(blocks, rejections, self._max_line)
        return await self._feed(chunks, Merge.rows, rejections)

    async def set_status(self, blocks: Blocks) -> FeedResult:
        """Give invoices another status, all in one transaction; unknown invoices are rejected."""
        rejections = Rejections()
        chunks = status_chunks(blocks, rejections, self._max_line)
        return await self._feed(chunks, Merge.statuses, rejections)

    async def set_watermark(self, region: str, complete_until: datetime) -> WatermarkResult:
        """The ledger holds all that a region, four digits, issued before a moment.

        The moment is one that ``invoice.watermarks.out_of_range`` does not object to.
        """
        async with self._bounded(), self._transaction() as feed:
            with translated():
                moved_back = await feed.connection.fetchval(_SET_WATERMARK, region, complete_until)
            position = await self._commit(feed)
            return WatermarkResult(moved_back, position.timeline, position.lsn)

    async def prune(self, kept: float) -> int:
        """Forget changes that ended more than so many seconds ago; how many."""
        pruned, done = 0, _PRUNED_AT_ONCE
        while done == _PRUNED_AT_ONCE:
            with translated():
                async with asyncio.timeout(self._bounds.write_timeout), self._transaction() as feed:
                    done = await prune(feed.connection, kept, _PRUNED_AT_ONCE)
                    await self._commit(feed)
            pruned += done
        return pruned

    async def _feed(
        self,
        chunks: AsyncGenerator[C, None],
        apply: Callable[[Merge, C], Coroutine[Any, Any, None]],
        rejections: Rejections,
    ) -> FeedResult:
        async with self._bounded(), aclosing(chunks):
            # The last chunk is the only one that is not full.
            chunk = await anext(chunks)
            if not chunk.full:
                return await self._at_once(chunk, apply, rejections)
            async with self._long, self._transaction() as feed:
                await feed.put(feed.merge.turn.begin_long())
                await feed.put(apply(feed.merge, chunk))
                async for more in chunks:
                    await feed.put(apply(feed.merge, more))
                return _result(feed.merge, rejections, await self._commit(feed))

    async def _at_once(
        self,
        chunk: C,
        apply: Callable[[Merge, C], Coroutine[Any, Any, None]],
        rejections: Rejections,
    ) -> FeedResult:
        """Apply the only chunk of a feed, which is still there when it has to begin again."""
        async with self._transaction() as feed:
            for tries in count(1):
                try:
                    await feed.put(apply(feed.merge, chunk))
                    return _result(feed.merge, rejections, await self._commit(feed))
                except Unavailable as error:
                    if error.reason != "conflict" or tries == _TRIES:
                        raise
                await feed.begin_again()
                await feed.put(feed.merge.turn.give_way())
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        """A bound on the time of a feed as a whole, its reception included."""
        bound = asyncio.timeout(self._bounds.write_timeout)
        try:
            async with bound:
                yield
        except TimeoutError as error:
            if not bound.expired():
                # It comes from the source of the lines.
                raise
            raise Unavailable("timeout") from error

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Transaction]:
        """A transaction on a connection that nobody else uses."""
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
                    feed = await Transaction.begin(await self._connection())
            try:
                yield feed
            finally:
                if await feed.end():
                    self._idle.append(feed.connection)
        finally:
            self._places.release()

    async def _commit(self, feed: Transaction) -> Position:
        position = await feed.commit()
        # Meanwhile another server may have become the primary, which this one does not know.
        self._refuse_outdated(position.timeline)
        return position

    async def _connection(self) -> asyncpg.Connection:
        idle = await self._idle_connection()
        if idle is not None:
            return idle
        if not self._surveyed:
            await survey(self._config.replica_dsns, self._history, self._config)
            self._surveyed = True
        await self._history.heard()
        found = await find(
            self._hosts, "primary", self._open, self._config.connect_timeout, self._history
        )
        with or_terminated(found.connection):
            if found.in_recovery:
                raise Unavailable("read_only")
            self._cluster = found.cluster
            self._history.noticed(found.cluster, found.timeline)
            self._refuse_outdated(found.timeline)
            await found.connection.execute(TEMPORARY_TABLES)
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
                        _, _, timeline = await state_of(connection)
                    self._refuse_outdated(timeline)
            except FAILURES:
                await self.close()
            else:
                return connection
        return None

    async def _open(self, dsn: str) -> asyncpg.Connection:
        return await open_writer(dsn, self._config, self._bounds)

    def _refuse_outdated(self, timeline: int) -> None:
        """A primary that a failover has left behind must not be written."""
        if self._history.outdated(self._cluster, timeline):
            raise Unavailable("old_timeline")


def _result(merge: Merge, rejections: Rejections, position: Position) -> FeedResult:
    for line in merge.unknown:
        rejections.add(line, UNKNOWN_INVOICE)
    return FeedResult(
        merge.accepted,
        merge.unchanged,
        sorted(rejections.kept),
        rejections.count,
        position.timeline,
        position.lsn,
    )
