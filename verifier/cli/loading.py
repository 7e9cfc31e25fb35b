"""Loading NDJSON into the ledger: transactions of bounded size, each tried again when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from random import random
from typing import Protocol

import msgspec

from verifier.backoff import backoff
from verifier.errors import Unavailable, VerifierError
from verifier.invoice.claim import Invalid
from verifier.ledger.ingest.chunks import (
    Blocks,
    IngestResult,
    Rejection,
    Rejections,
    invoice_chunks,
)

# One transaction: about a second, so that progress shows and little is lost by an interruption.
TRANSACTION_BYTES = 24 << 20
TRIES = 5
_LONGEST_WAIT = 10.0

Taken = Callable[[int, int], None]


class Ingests(Protocol):
    """What is needed of a Writer."""

    async def ingest(self, blocks: Blocks) -> IngestResult:
        """Bring invoices into the ledger, all in one transaction."""


class LoadError(VerifierError):
    """The ledger cannot be written: says up to which line it was."""

    code = "load"


class Totals(msgspec.Struct):
    """What became of the lines."""

    lines: int = 0
    accepted: int = 0
    unchanged: int = 0
    rejected: int = 0


class Loading:
    """Loads blocks of whole lines (without the last one's end) through a writer.

    ``totals`` covers what is committed. Loading the same lines again does no harm, so what was
    interrupted is simply begun anew. ``taken`` is told how many lines and bytes are on their way
    in; ``rejected`` gets every line that was not accepted, with its number in the whole.
    """

    def __init__(
        self,
        writer: Ingests,
        max_line: int,
        *,
        taken: Taken,
        rejected: Callable[[Rejection], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random,
    ) -> None:
        self._writer = writer
        self._max_line = max_line
        self._taken = taken
        self._rejected = rejected
        self._sleep = sleep
        self._jitter = jitter
        self.totals = Totals()

    async def load(self, blocks: Iterable[bytes]) -> None:
        """Load everything; LoadError when the ledger cannot be written after TRIES."""
        totals = self.totals
        for transaction in _transactions(blocks):
            result = await self._commit(transaction)
            for rejection in await self._rejections(transaction, result):
                number = totals.lines + rejection.line
                self._rejected(msgspec.structs.replace(rejection, line=number))
            totals.lines += sum(map(_lines_in, transaction))
            totals.accepted += result.accepted
            totals.unchanged += result.unchanged
            totals.rejected += result.rejected_count

    async def _commit(self, transaction: Sequence[bytes]) -> IngestResult:
        taken: Taken = self._taken
        for attempt in range(TRIES):
            try:
                return await self._writer.ingest(_given(transaction, taken))
            except Unavailable as error:
                if error.reason == "no_schema":
                    raise LoadError(
                        "the database has no ledger yet: run `verifier migrate`"
                    ) from error
                if attempt == TRIES - 1:
                    raise LoadError(
                        f"the ledger cannot be written ({error.reason}); "
                        f"{self.totals.lines:,} lines are in: begin again when it can"
                    ) from error
                await self._sleep(
                    max(error.retry_after, backoff(attempt + 1, 1.0, _LONGEST_WAIT, self._jitter()))
                )
                taken = _nothing  # they were counted at the first try
        raise AssertionError("unreachable")

    async def _rejections(
        self, transaction: Sequence[bytes], result: IngestResult
    ) -> Sequence[Rejection]:
        """All of them: the writer names the first only, so that its answers stay small."""
        if len(result.rejected) == result.rejected_count:
            return result.rejected
        everything = _Unbounded()
        lines = invoice_chunks(_given(transaction, _nothing), everything, self._max_line)
        async with aclosing(lines):
            async for _ in lines:
                pass
        return everything.kept


class _Unbounded(Rejections):
    """Keeps every rejected line."""

    def add(self, line: int, wrong: Invalid) -> None:
        self.count += 1
        self.kept.append(Rejection(line, wrong.errors, wrong.more_errors))


def _transactions(blocks: Iterable[bytes]) -> Iterator[list[bytes]]:
    transaction: list[bytes] = []
    size = 0
    for block in blocks:
        transaction.append(block)
        size += len(block)
        if size >= TRANSACTION_BYTES:
            yield transaction
            transaction, size = [], 0
    if transaction:
        yield transaction


def _lines_in(block: bytes) -> int:
    return block.count(b"\n") + 1


def _nothing(_lines: int, _size: int) -> None:
    pass


async def _given(blocks: Sequence[bytes], taken: Taken) -> AsyncIterator[bytes]:
    for block in blocks:
        yield block
        # Asked for the next one: this one has been read, and merged up to the last few thousand.
        taken(_lines_in(block), len(block) + 1)
