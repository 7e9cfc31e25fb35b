"""Tests of what comes in, before PostgreSQL: turns, chunks, rejected lines."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tests.ledger.support import blocks, line, named, number, red_letter, status_line
from tests.support import other_work
from verifier.ledger.ingest.chunks import (
    InvoiceChunk,
    Rejections,
    StatusChunk,
    invoice_chunks,
    status_chunks,
)
from verifier.wire.lines import Row, read

MAX_LINE = 2_000


async def rows(*given: bytes | None) -> tuple[list[InvoiceChunk], Rejections]:
    """The chunks of blocks."""

    async def source() -> AsyncIterator[bytes | None]:
        for block in given:
            yield block

    rejections = Rejections()
    return [chunk async for chunk in invoice_chunks(source(), rejections, MAX_LINE)], rejections


async def test_rejected_lines_keep_their_numbers() -> None:
    """Lines are numbered through all blocks, blank and over-long ones included."""
    chunks, rejections = await rows(
        b"\n".join([line(1), b"", b"  ", b"nonsense"]),
        None,
        b"",
        line(2, status="lost"),
        line(3, buyer_name="x" * MAX_LINE),
        line(4),
    )
    assert [sorted(chunk.rows) for chunk in chunks] == [[number(1), number(4)]]
    assert named(rejections.kept) == [
        (4, "", "bad_format"),
        (5, "", "bad_length"),
        (7, "status", "bad_format"),
        (8, "", "bad_length"),
    ]
    assert rejections.count == 4


async def test_rejected_lines_are_bounded() -> None:
    """Beyond a thousand errors, rejected lines are counted and not kept."""
    _, rejections = await rows(b"\n".join([b"nonsense"] * 2500))
    assert rejections.count == 2500
    assert [each.line for each in rejections.kept] == list(range(1, 1001))


async def test_no_line_is_one_empty_chunk() -> None:
    """A request without a line still has a last chunk, so that it is answered like others."""
    chunks, rejections = await rows()
    assert [chunk.rows for chunk in chunks] == [{}]
    assert rejections.count == 0


async def test_all_chunks_but_the_last_are_full() -> None:
    """A long request is cut into full chunks and a last one."""
    given = (line(n) for n in range(25_000))
    rejections = Rejections()
    chunks = [chunk async for chunk in invoice_chunks(blocks(given), rejections, MAX_LINE)]
    assert [chunk.full for chunk in chunks] == [True, True, False]
    assert sum(len(chunk.rows) for chunk in chunks) == 25_000
    # A turn may go beyond the bound by less than itself.
    assert all(len(chunk.rows) < 10_100 for chunk in chunks)


async def test_large_rows_fill_a_chunk_early() -> None:
    """Chunks are bounded by size too."""
    chunk = InvoiceChunk()
    item = read(line(1, red_letters=[{"number": number(n)} for n in range(2, 102)]))
    assert isinstance(item, Row)
    count = 0
    while not chunk.full:
        count += 1
        chunk.add(count, Row(number(count), item.text, item.red_letters, ""))
    assert count < 5_000


async def test_last_line_about_an_invoice_wins() -> None:
    """A later line takes the place of an earlier one, which counts as accepted."""
    chunks, _ = await rows(b"\n".join([line(1), line(1, status="voided"), line(2)]))
    (chunk,) = chunks
    assert "voided" in chunk.rows[number(1)].text
    assert (chunk.accepted, chunk.unchanged, len(chunk.rows)) == (1, 0, 2)


async def test_repeated_line_changes_nothing() -> None:
    """The same line once more is unchanged."""
    chunks, _ = await rows(b"\n".join([line(1), line(1)]))
    assert (chunks[0].accepted, chunks[0].unchanged, len(chunks[0].rows)) == (0, 1, 1)


async def test_later_line_keeps_red_letters_that_it_does_not_mention() -> None:
    """A line that does not mention red letters keeps those of an earlier line."""
    mentioned = line(1, red_letters=[{"code": "", "number": number(7)}])
    chunks, _ = await rows(b"\n".join([mentioned, line(1, status="red_flushed")]))
    row = chunks[0].rows[number(1)]
    assert row.red_letters == f"{{{number(7)}}}"
    assert "red_flushed" in row.text


async def test_red_letter_names_its_blue_invoice() -> None:
    """The row of a red letter knows the key of the blue invoice."""
    chunks, _ = await rows(red_letter(2, 1))
    assert chunks[0].rows[number(2)].red_letter_of == number(1)


async def test_status_changes_of_an_invoice_add_up() -> None:
    """The last status counts, and all red letters; the lines are remembered."""

    async def source() -> AsyncIterator[bytes | None]:
        yield b"\n".join(
            [
                status_line(1, "partially_red_flushed", 8),
                b"{}",
                status_line(1, "red_flushed", 9),
            ]
        )

    rejections = Rejections()
    chunks = [chunk async for chunk in status_chunks(source(), rejections, MAX_LINE)]
    (chunk,) = chunks
    assert isinstance(chunk, StatusChunk)
    assert chunk.changes == {number(1): ("red_flushed", {number(8), number(9)})}
    assert chunk.lines == {number(1): [1, 3]}
    assert named(rejections.kept) == [(2, "number", "required"), (2, "status", "required")]


async def test_reading_gives_way_to_other_work() -> None:
    """Reading a long block lets other tasks run in between."""
    async with other_work() as other:
        await rows(b"\n".join(line(n) for n in range(2_000)))
    assert other["rounds"] > 20
