"""Tests of the bounds of turns and chunks, of rejections, and of links without PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, cast

import asyncpg
import pytest

from tests.ledger.support import blocks, line, number, red_letter, status_line
from verifier.invoice.claim import Invalid
from verifier.invoice.fields import FieldError
from verifier.invoice.names import MAX_LISTED
from verifier.ledger.ingest import chunks
from verifier.ledger.ingest.chunks import (
    InvoiceChunk,
    Rejection,
    Rejections,
    StatusChunk,
    invoice_chunks,
    status_chunks,
)
from verifier.ledger.ingest.links import Links, Pair, columns, pairs_of
from verifier.ledger.ingest.turns import Turn
from verifier.wire.lines import Row, read, read_many

MAX_LINE = 2_000
TOO_LONG = FieldError("", "bad_length", f"≤ {MAX_LINE} bytes")


async def given(parts: Iterable[bytes | None]) -> AsyncIterator[bytes | None]:
    """Blocks as the API hands them over."""
    for part in parts:
        yield part


async def rows_of(*parts: bytes | None) -> tuple[list[InvoiceChunk], Rejections]:
    """The chunks of a feed of invoices, and what was rejected."""
    rejections = Rejections()
    return [chunk async for chunk in invoice_chunks(given(parts), rejections, MAX_LINE)], rejections


def row(text: bytes) -> Row:
    """What a line is read as."""
    read_line = read(text)
    assert isinstance(read_line, Row)
    return read_line


async def test_lines_are_counted_across_blocks_and_blank_ones_too() -> None:
    """A rejection names the line that its sender counts."""
    (chunk,), rejections = await rows_of(
        b"\n".join((line(1), b" \t", b"", b"{}")), None, b"[]", line(2)
    )
    assert list(chunk.rows) == [number(1), number(2)]
    assert [each.line for each in rejections.kept] == [4, 5, 6]
    assert rejections.kept[1] == Rejection(5, (TOO_LONG,))
    assert rejections.count == 3


async def test_a_line_may_be_as_long_as_the_bound() -> None:
    """One byte more is too much, whatever it says."""
    text = line(1)
    (chunk,), rejections = await rows_of(text.ljust(MAX_LINE), line(2).ljust(MAX_LINE + 1), line(3))
    assert list(chunk.rows) == [number(1), number(3)]
    assert rejections.kept == [Rejection(2, (TOO_LONG,))]


@pytest.mark.parametrize("bound", ["_LINES_PER_TURN", "_BYTES_PER_TURN"])
async def test_turns_lose_nothing(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small they are, each line is read once and keeps its number."""
    monkeypatch.setattr(chunks, bound, 3)
    long = b"x" * (MAX_LINE + 1)
    lines = [line(1), b"x", line(2), line(3), b"", line(4), long, line(5), b"{", long, long]
    (chunk,), rejections = await rows_of(b"\n".join(lines))
    assert list(chunk.rows) == [number(n) for n in range(1, 6)]
    assert [each.line for each in rejections.kept] == [2, 7, 9, 10, 11]
    assert all(each.errors == (TOO_LONG,) for each in rejections.kept if each.line not in {2, 9})


@pytest.mark.parametrize("bound", ["_CHUNK_ROWS", "_CHUNK_CHARACTERS"])
async def test_all_chunks_are_full_but_the_last(
    bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk ends with the turn that fills it; a feed that ends there leaves an empty one."""
    size = 2 if bound == "_CHUNK_ROWS" else 2 * len(row(line(1)).text)
    monkeypatch.setattr(chunks, bound, size)
    found, _ = await rows_of(*(line(n) for n in range(5)))
    assert [len(chunk.rows) for chunk in found] == [2, 2, 1]
    assert [chunk.full for chunk in found] == [True, True, False]
    found, _ = await rows_of(*(line(n) for n in range(2)))
    assert [len(chunk.rows) for chunk in found] == [2, 0]


def test_a_chunk_is_full_at_its_bound_of_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one character earlier."""
    chunk, only = InvoiceChunk(), row(line(1))
    chunk.add(1, only)
    monkeypatch.setattr(chunks, "_CHUNK_CHARACTERS", len(only.text))
    assert chunk.full
    monkeypatch.setattr(chunks, "_CHUNK_CHARACTERS", len(only.text) + 1)
    assert not chunk.full


async def test_of_lines_about_one_invoice_the_last_wins() -> None:
    """Those before it count as accepted, and as unchanged where they say the same."""
    (chunk,), _ = await rows_of(line(1), line(1), line(1, status="voided"), line(2))
    assert (chunk.accepted, chunk.unchanged) == (1, 1)
    assert chunk.rows[number(1)] == row(line(1, status="voided"))
    assert len(chunk.rows) == 2


async def test_lines_about_one_invoice_are_counted_one_by_one() -> None:
    """Each that a later one replaces adds to those before it."""
    voided = line(1, status="voided")
    (chunk,), _ = await rows_of(line(1), line(1), line(1), voided, line(1))
    assert (chunk.accepted, chunk.unchanged) == (2, 2)


async def test_red_letters_stay_as_the_earlier_line_said() -> None:
    """A later line that lists none leaves the list; one that lists others gives a new one."""
    listing = [{"code": "", "number": number(9)}]
    others = [{"code": "", "number": number(8)}]
    (chunk,), _ = await rows_of(line(1, red_letters=listing), line(1))
    assert (chunk.accepted, chunk.unchanged) == (0, 1)
    assert chunk.rows[number(1)].red_letters == row(line(1, red_letters=listing)).red_letters
    (chunk,), _ = await rows_of(line(1, red_letters=listing), line(1, red_letters=others))
    assert chunk.rows[number(1)].red_letters == row(line(1, red_letters=others)).red_letters


async def test_status_changes_keep_the_last_status_all_red_letters_and_all_lines() -> None:
    """So that each line of an unknown invoice can be rejected by its number."""
    lines = [
        status_line(1, "partially_red_flushed", red=7),
        status_line(2, "voided"),
        b"{}",
        status_line(1, "red_flushed", red=8),
    ]
    rejections = Rejections()
    (chunk,) = [each async for each in status_chunks(blocks(lines, 2), rejections, MAX_LINE)]
    assert chunk.changes == {
        number(1): ("red_flushed", {number(7), number(8)}),
        number(2): ("voided", set()),
    }
    assert chunk.lines == {number(1): [1, 4], number(2): [2]}
    assert [each.line for each in rejections.kept] == [3]


async def test_chunks_of_status_changes_are_full_by_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines about the same invoice count too; a chunk ends with the turn that fills it."""
    monkeypatch.setattr(chunks, "_CHUNK_ROWS", 2)
    lines = [status_line(1, "voided")] * 5
    found: list[StatusChunk] = [
        each async for each in status_chunks(blocks(lines, 1), Rejections(), MAX_LINE)
    ]
    assert [each.lines.get(number(1)) for each in found] == [[1, 2], [3, 4], [5]]


def test_the_errors_that_are_listed_are_the_first_ones_without_gaps() -> None:
    """As many as fit; after the first line that does not, none is named."""
    rejections = Rejections()
    error = FieldError("number", "required")
    rejections.add(1, Invalid((error,) * (MAX_LISTED - 2), more_errors=4))
    rejections.add(2, Invalid((error, error)))
    assert [each.line for each in rejections.kept] == [1, 2]
    assert rejections.kept[0].more_errors == 4
    rejections.add(3, Invalid((error,)))
    assert [each.line for each in rejections.kept] == [1, 2]
    assert rejections.count == 3

    rejections = Rejections()
    rejections.add(1, Invalid((error,) * (MAX_LISTED + 1)))
    rejections.add(2, Invalid((error,)))
    assert (rejections.kept, rejections.count) == ([], 2)


def test_a_chunk_says_which_links_come_and_go() -> None:
    """What a line names, what it lists, and what the ledger had it name until now."""
    listing = [{"code": "", "number": number(n)} for n in (5, 6)]
    rows = {
        each.key: each
        for each in (
            row(red_letter(1, 11)),
            row(red_letter(2, 12)),
            row(line(3, red_letters=listing)),
            row(line(4)),
        )
    }
    known = {number(1): number(10), number(2): number(12), number(3): None, number(4): number(13)}
    assert pairs_of(rows, known) == [
        Pair(number(1), number(10), "left"),
        Pair(number(4), number(13), "left"),
        Pair(number(1), number(11), "names"),
        Pair(number(2), number(12), "names"),
        Pair(number(5), number(3), "listed"),
        Pair(number(6), number(3), "listed"),
    ]


class FakeConnection:
    """Keeps the statements, by their first word and the table that follows, and their arguments."""

    def __init__(self) -> None:
        self.executed: list[tuple[str, tuple[Any, ...]]] = []

    async def execute(self, sql: str, *arguments: Any) -> None:
        """Keep a statement."""
        verb = next(word for word in sql.split() if word in {"INSERT", "UPDATE", "DELETE"})
        self.executed.append((verb, arguments))


class FakeTurn:
    """Keeps how it was asked for."""

    def __init__(self) -> None:
        self.alone: list[bool] = []

    async def link(self, *, alone: bool) -> None:
        """Take the lock."""
        self.alone.append(alone)


@pytest.mark.parametrize(
    ("pairs", "touched", "verbs", "alone"),
    [
        ([], False, [], []),
        ([], True, ["UPDATE"], [False]),
        ([Pair("r", "b", "left")], False, ["INSERT", "UPDATE"], [True]),
        ([Pair("r", "b", "listed")], True, ["INSERT", "UPDATE", "INSERT"], [True]),
        ([Pair("r", "b", "names")], True, ["INSERT", "UPDATE", "DELETE"], [True]),
    ],
)
async def test_links_are_completed_as_far_as_any_were_touched(
    pairs: list[Pair], touched: bool, verbs: list[str], alone: list[bool]
) -> None:
    """A transaction that touched none takes no lock; one with links of its own has it alone."""
    connection, turn = FakeConnection(), FakeTurn()
    links = Links(cast("asyncpg.Connection", connection))
    await links.remember(pairs)
    await links.remember([])
    await links.complete(cast("Turn", turn), touched=touched)
    assert [verb for verb, _ in connection.executed] == verbs
    assert turn.alone == alone
    if pairs:
        assert connection.executed[0][1] == tuple(columns(pairs))


@pytest.mark.parametrize(
    ("bound", "size", "turns"),
    [
        ("_LINES_PER_TURN", 3, [3, 3, 1]),
        ("_BYTES_PER_TURN", 2 * len(line(1)), [2, 2, 2, 1]),
        ("_BYTES_PER_TURN", 2 * len(line(1)) - 1, [2, 2, 2, 1]),
        ("_BYTES_PER_TURN", 2 * len(line(1)) + 1, [3, 3, 1]),
    ],
)
async def test_a_turn_is_as_long_as_its_bounds(
    bound: str, size: int, turns: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By lines or by bytes, so that other work of the event loop waits no longer than for that."""
    found: list[int] = []

    def counted(texts: Sequence[bytes]) -> Sequence[Row | Invalid]:
        found.append(len(texts))
        return read_many(texts)

    monkeypatch.setattr(chunks, bound, size)
    monkeypatch.setattr(chunks, "read_many", counted)
    await rows_of(b"\n".join(line(n) for n in range(7)))
    assert found == turns
