"""Loading NDJSON into the ledger: transactions of bounded size, each tried again when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence

import msgspec

from verifier.errors import Unavailable, VerifierError
from verifier.invoice.line import read
from verifier.ledger.feed import Rejection
from verifier.ledger.writer import Writer

# One transaction: about a second, so that progress shows and little is lost by an interruption.
TRANSACTION_BYTES = 24 << 20
TRIES = 5


class LoadError(VerifierError):
    """The ledger cannot be written: says up to which line it was."""

    code = "load"


class Totals(msgspec.Struct):
    """What became of the lines."""

    lines: int = 0
    accepted: int = 0
    unchanged: int = 0
    rejected: int = 0


async def load(
    writer: Writer,
    blocks: Iterable[bytes],
    *,
    merged: Callable[[int, float], None] = lambda lines, size: None,
    rejected: Callable[[Rejection], None] = lambda rejection: None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Totals:
    """Load blocks of whole lines (without the last one's end), in transactions of their own.

    Loading the same lines again does no harm, so what was interrupted is simply begun anew.
    ``merged`` gets the number of lines and bytes that have gone in; ``rejected`` every line that
    was not accepted, with its number in the whole. Raises LoadError when the ledger cannot be
    written after TRIES; what was committed until then stays.
    """
    totals = Totals()
    for transaction in _transactions(blocks):
        size = sum(map(len, transaction))
        lines = sum(block.count(b"\n") + 1 for block in transaction)
        share = size / lines
        for attempt in range(1, TRIES + 1):
            try:
                result = await writer.ingest(
                    _given(transaction), lambda count, share=share: merged(count, count * share)
                )
                break
            except Unavailable as error:
                if attempt == TRIES:
                    raise LoadError(
                        f"the ledger cannot be written ({error.reason}); "
                        f"{totals.lines:,} lines are in: begin again when it can"
                    ) from error
                await sleep(max(error.retry_after, 2 ** (attempt - 1)))
        for rejection in _all_rejections(transaction, result.rejected, result.rejected_count):
            rejected(msgspec.structs.replace(rejection, line=totals.lines + rejection.line))
        totals.lines += lines
        totals.accepted += result.accepted
        totals.unchanged += result.unchanged
        totals.rejected += result.rejected_count
    return totals


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


async def _given(blocks: Sequence[bytes]) -> AsyncIterator[bytes]:
    for block in blocks:
        yield block


def _all_rejections(
    blocks: Sequence[bytes], known: Sequence[Rejection], count: int
) -> Iterable[Rejection]:
    """The writer names the first rejected lines only; the others are read once more."""
    if len(known) == count:
        return known
    lines = (line for block in blocks for line in block.split(b"\n"))
    found = [(number, read(line)) for number, line in enumerate(lines, 1) if line.strip()]
    return [Rejection(number, errors) for number, errors in found if isinstance(errors, tuple)]
