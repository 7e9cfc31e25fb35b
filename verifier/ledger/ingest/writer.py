"""Writer: what comes into the ledger, to the primary. Nothing is acknowledged before its COMMIT."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Mapping,
)
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from itertools import count
from typing import Any, TypeVar

import asyncpg

from verifier.config import Databases, Ingest
from verifier.database.primary import Primary
from verifier.database.timelines import Timelines
from verifier.database.transactions import Transaction, translated
from verifier.errors import Unavailable
from verifier.ledger.changes.pruning import prune
from verifier.ledger.ingest.chunks import (
    UNKNOWN_INVOICE,
    Blocks,
    IngestResult,
    InvoiceChunk,
    Rejections,
    StatusChunk,
    WatermarkResult,
    invoice_chunks,
    status_chunks,
)
from verifier.ledger.ingest.merge import TEMPORARY_TABLES, Merge

C = TypeVar("C", InvoiceChunk, StatusChunk)

# Notes what was done, with its facts, in the transaction that does it; the last thing there.
Note = Callable[[asyncpg.Connection, Mapping[str, Any]], Awaitable[None]]

# How often a short transaction begins again when others are in its way. Each time it has waited for
# one of them, and some have got on; beyond, what it waits for is no ingest.
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
    """Writes the ledger through up to ``Ingest.write_connections`` connections; one per event loop.

    Every method raises Unavailable when the primary cannot be written (``overloaded`` when all
    connections stay taken, ``conflict`` when another transaction is in the way, ``timeout`` beyond
    ``Ingest.write_timeout``, ``old_timeline`` when a failover has left that primary behind). After
    ``no_database``, ``timeout`` and ``old_timeline`` what was sent may or may not have been
    committed; sending it again does no harm. ``timelines`` are what the servers have shown to a
    watch beside this, if there is one. A ``note`` is committed with what is written, or neither is.
    ConfigError without a primary.
    """

    def __init__(
        self, config: Databases, ingest: Ingest, max_line: int, timelines: Timelines | None = None
    ) -> None:
        self._bound = ingest.write_timeout
        self._max_line = max_line
        self._primary = Primary(config, ingest, TEMPORARY_TABLES, timelines)
        # Long transactions take turns anyway (turns.py): they need not do so with a connection
        # each.
        self._long = asyncio.Lock()

    async def close(self) -> None:
        """Drop the connections that are not in use; what is under way ends by itself."""
        await self._primary.close()

    async def ingest(self, blocks: Blocks, note: Note | None = None) -> IngestResult:
        """Bring invoices into the ledger, all in one transaction.

        Memory is bounded however many lines there are. Nothing is sent to the primary before the
        first 10,000 lines or the end have come, so that slow senders do not hold connections.
        """
        rejections = Rejections()
        chunks = invoice_chunks(blocks, rejections, self._max_line)
        return await self._merge(chunks, Merge.invoices, rejections, note)

    async def set_status(self, blocks: Blocks, note: Note | None = None) -> IngestResult:
        """Give invoices another status, all in one transaction; unknown invoices are rejected."""
        rejections = Rejections()
        chunks = status_chunks(blocks, rejections, self._max_line)
        return await self._merge(chunks, Merge.statuses, rejections, note)

    async def set_watermark(
        self, region: str, complete_until: datetime, note: Note | None = None
    ) -> WatermarkResult:
        """The ledger holds all that a region, four digits, issued before a moment.

        The moment is one that ``invoice.watermarks.out_of_range`` does not object to.
        """
        async with self._bounded(), self._primary.transaction() as transaction:
            with translated():
                moved_back = await transaction.connection.fetchval(
                    _SET_WATERMARK, region, complete_until
                )
                if note is not None:
                    facts = {"complete_until": complete_until, "moved_back": moved_back}
                    await note(transaction.connection, facts)
            return WatermarkResult(moved_back, await self._primary.commit(transaction))

    async def prune(self, kept: float) -> int:
        """Forget changes that ended more than so many seconds ago; how many."""
        pruned, done = 0, _PRUNED_AT_ONCE
        while done == _PRUNED_AT_ONCE:
            async with self._bounded(), self._primary.transaction() as transaction:
                with translated():
                    done = await prune(transaction.connection, kept, _PRUNED_AT_ONCE)
                await self._primary.commit(transaction)
            pruned += done
        return pruned

    async def _merge(
        self,
        chunks: AsyncGenerator[C, None],
        apply: Callable[[Merge, C], Coroutine[Any, Any, None]],
        rejections: Rejections,
        note: Note | None,
    ) -> IngestResult:
        async with self._bounded(), aclosing(chunks):
            # The last chunk is the only one that is not full.
            chunk = await anext(chunks)
            if not chunk.full:
                return await self._at_once(chunk, apply, rejections, note)
            async with self._long, self._primary.transaction() as transaction:
                merge = Merge(transaction.connection)
                await transaction.put(merge.turn.begin_long())
                await transaction.put(apply(merge, chunk))
                async for more in chunks:
                    await transaction.put(apply(merge, more))
                return await self._committed(transaction, merge, rejections, note)

    async def _at_once(
        self,
        chunk: C,
        apply: Callable[[Merge, C], Coroutine[Any, Any, None]],
        rejections: Rejections,
        note: Note | None,
    ) -> IngestResult:
        """Apply the only chunk, which is still there when the transaction has to begin again."""
        async with self._primary.transaction() as transaction:
            merge = Merge(transaction.connection)
            for tries in count(1):
                try:
                    await transaction.put(apply(merge, chunk))
                    return await self._committed(transaction, merge, rejections, note)
                except Unavailable as error:
                    if error.reason != "conflict" or tries == _TRIES:
                        raise
                await transaction.begin_again()
                merge = Merge(transaction.connection)
                await transaction.put(merge.turn.give_way())
        raise AssertionError("unreachable")

    async def _committed(
        self, transaction: Transaction, merge: Merge, rejections: Rejections, note: Note | None
    ) -> IngestResult:
        """What became of the lines, once all that was merged is committed."""
        await transaction.put(merge.link())
        if note is not None:
            await transaction.put(_noted(note, transaction.connection, merge, rejections))
        position = await self._primary.commit(transaction)
        for line in merge.unknown:
            rejections.add(line, UNKNOWN_INVOICE)
        return IngestResult(
            merge.accepted, merge.unchanged, sorted(rejections.kept), rejections.count, position
        )

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        """A bound on the time of one call as a whole, the reception of its lines included."""
        bound = asyncio.timeout(self._bound)
        try:
            async with bound:
                yield
        except TimeoutError as error:
            if not bound.expired():
                # It comes from the source of the lines.
                raise
            raise Unavailable("timeout") from error


async def _noted(
    note: Note, connection: asyncpg.Connection, merge: Merge, rejections: Rejections
) -> None:
    """Note the counts, which are known once all is merged."""
    facts = {
        "accepted": merge.accepted,
        "unchanged": merge.unchanged,
        "rejected": rejections.count + len(merge.unknown),
    }
    await note(connection, facts)
