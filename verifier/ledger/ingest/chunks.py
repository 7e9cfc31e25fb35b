"""What comes in, before PostgreSQL: blocks of lines to chunks of rows, and what is rejected."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Mapping,
    Sequence,
)
from typing import TypeVar

import msgspec

from verifier.invoice.claim import Invalid
from verifier.invoice.fields import FieldError
from verifier.invoice.names import MAX_LISTED
from verifier.state import Position
from verifier.wire.lines import Row, read_many
from verifier.wire.status_lines import StatusChange, read_status

T = TypeVar("T")

# Whole lines of NDJSON without the last one's end; None stands for one line that was too long.
# Blank lines are passed over.
Blocks = AsyncIterable[bytes | None]

# Lines are read in turns of about 0.3 ms, so that other work of the event loop goes on in between:
# so many lines or so many bytes, whichever comes first.
_LINES_PER_TURN = 64
_BYTES_PER_TURN = 65_536

# A chunk is large enough that round trips and statements do not count, and small enough that it
# and its successor, which is read meanwhile, take a few MiB.
_CHUNK_ROWS = 10_000
_CHUNK_CHARACTERS = 8 << 20

UNKNOWN_INVOICE = Invalid((FieldError("number", "unknown_invoice"),))


class Rejection(msgspec.Struct, frozen=True, order=True):
    """A line that was not accepted; ``line`` counts from 1, blank lines included.

    ``more_errors`` is how many errors it has beside those that are listed.
    """

    line: int
    errors: tuple[FieldError, ...]
    more_errors: int = 0


class IngestResult(msgspec.Struct, frozen=True):
    """What became of the lines of one request; whoever shows ``position`` shows its commit.

    Each line that is not blank is counted once, as if one after another were applied: accepted
    (it changed the ledger), unchanged (the ledger said so already) or rejected. Of several lines
    about one invoice the last wins; one that is overtaken by a later one counts as accepted.
    ``rejected`` holds the first of ``rejected_count``, with at most MAX_LISTED errors in all.
    """

    accepted: int
    unchanged: int
    rejected: list[Rejection]
    rejected_count: int
    position: Position


class WatermarkResult(msgspec.Struct, frozen=True):
    """A watermark that was set; whoever shows ``position`` shows its commit.

    ``moved_back`` says that it was later before.
    """

    moved_back: bool
    position: Position


class Rejections:
    """Collects rejected lines, the first of them with at most MAX_LISTED errors in all."""

    def __init__(self) -> None:
        self.kept: list[Rejection] = []
        self.count = 0
        self._room = MAX_LISTED

    def add(self, line: int, wrong: Invalid) -> None:
        """A line is rejected."""
        self.count += 1
        if len(wrong.errors) <= self._room:
            self._room -= len(wrong.errors)
            self.kept.append(Rejection(line, wrong.errors, wrong.more_errors))
        else:
            # Those that are named are the first ones, without gaps.
            self._room = 0


class InvoiceChunk:
    """Rows of invoices by key for one merge: of several with the same key, the last.

    ``accepted`` and ``unchanged`` count the lines that a later one with the same key has replaced.
    """

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.accepted = 0
        self.unchanged = 0
        self._characters = 0

    @property
    def full(self) -> bool:
        """Whether it is time to merge it."""
        return len(self.rows) >= _CHUNK_ROWS or self._characters >= _CHUNK_CHARACTERS

    def add(self, _: int, row: Row) -> None:
        """Take a row; it replaces an earlier one with the same key."""
        previous = self.rows.get(row.key)
        if previous is not None:
            # What the later line does not mention stays as the earlier one said.
            row.red_letters = row.red_letters or previous.red_letters
            if row == previous:
                self.unchanged += 1
                return
            self.accepted += 1
        self.rows[row.key] = row
        self._characters += len(row.text) + len(row.red_letters)


class StatusChunk:
    """Changes of status by key for one merge: the last status, all red letters, all lines."""

    def __init__(self) -> None:
        self.changes: dict[str, tuple[str, set[str]]] = {}
        self.lines: dict[str, list[int]] = {}
        self._count = 0

    @property
    def full(self) -> bool:
        """Whether it is time to merge it."""
        return self._count >= _CHUNK_ROWS

    def add(self, line: int, change: StatusChange) -> None:
        """Take a change; its line is rejected later if there is no such invoice."""
        _, reds = self.changes.get(change.key, ("", set()))
        if change.red_letter:
            reds.add(change.red_letter)
        self.changes[change.key] = change.status, reds
        self.lines.setdefault(change.key, []).append(line)
        self._count += 1


async def invoice_chunks(
    blocks: Blocks, rejections: Rejections, max_line: int
) -> AsyncGenerator[InvoiceChunk, None]:
    """The invoices of a request. All chunks are full but the last, which may be empty."""
    chunk = InvoiceChunk()
    async for turn in _turns(blocks, read_many, rejections, max_line):
        for line, row in turn:
            chunk.add(line, row)
        if chunk.full:
            yield chunk
            chunk = InvoiceChunk()
    yield chunk


async def status_chunks(
    blocks: Blocks, rejections: Rejections, max_line: int
) -> AsyncGenerator[StatusChunk, None]:
    """The changes of status of a request. All chunks are full but the last, which may be empty."""

    def read_statuses(texts: Sequence[bytes]) -> list[StatusChange | Invalid]:
        return [read_status(text) for text in texts]

    chunk = StatusChunk()
    async for turn in _turns(blocks, read_statuses, rejections, max_line):
        for line, change in turn:
            chunk.add(line, change)
        if chunk.full:
            yield chunk
            chunk = StatusChunk()
    yield chunk


async def _turns(
    blocks: Blocks,
    read_lines: Callable[[Sequence[bytes]], Sequence[T | Invalid]],
    rejections: Rejections,
    max_line: int,
) -> AsyncIterator[list[tuple[int, T]]]:
    """What ``read_lines`` makes of the lines, with their numbers, a turn at a time."""
    number = 0
    async for block in blocks:
        # By number; None stands for a line that is too long.
        given: dict[int, bytes | None] = {}
        lines = size = 0
        for line in [None] if block is None else block.split(b"\n"):
            number += 1
            lines += 1
            if line is None or len(line) > max_line:
                given[number] = None
            elif line and not line.isspace():
                given[number] = line
                size += len(line)
            if lines >= _LINES_PER_TURN or size >= _BYTES_PER_TURN:
                yield _turn(given, read_lines, rejections, max_line)
                given, lines, size = {}, 0, 0
                await sleep(0)
        yield _turn(given, read_lines, rejections, max_line)
        await sleep(0)


def _turn(
    given: Mapping[int, bytes | None],
    read_lines: Callable[[Sequence[bytes]], Sequence[T | Invalid]],
    rejections: Rejections,
    max_line: int,
) -> list[tuple[int, T]]:
    """What the good lines of one turn say, by their numbers; the bad ones are rejected."""
    items = iter(read_lines([line for line in given.values() if line is not None]))
    taken: list[tuple[int, T]] = []
    for number, line in given.items():
        item: T | Invalid
        if line is None:
            item = Invalid((FieldError("", "bad_length", f"≤ {max_line} bytes"),))
        else:
            item = next(items)
        if isinstance(item, Invalid):
            rejections.add(number, item)
        else:
            taken.append((number, item))
    return taken
