"""NDJSON: bytes as they arrive to blocks of whole lines, within a bound for each line."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable


async def blocks_of_lines(
    receive: Callable[[], Awaitable[bytes]], max_line: int
) -> AsyncGenerator[bytes | None]:
    """Blocks of whole lines as they arrive; None stands for one line that was too long.

    ``receive`` gives what has arrived since it was last called, and nothing at the end; what it
    raises passes. Holds at most one block and one partial line. The last line may lack its newline.
    """
    partial = b""
    skipping = False
    while block := await receive():
        if skipping:
            _, newline, block = block.partition(b"\n")
            if not newline:
                continue
            skipping = False
        head, newline, tail = block.rpartition(b"\n")
        if newline:
            whole = partial + head
            partial = tail
            if _has_long_line(whole, max_line):
                for piece in _without_long_lines(whole, max_line):
                    yield piece
            else:
                yield whole
        else:
            partial += tail
        if len(partial) > max_line:
            partial = b""
            skipping = True
            yield None
    if partial:
        yield partial


def _has_long_line(block: bytes, max_line: int) -> bool:
    start = 0
    while len(block) - start > max_line:
        newline = block.rfind(b"\n", start, start + max_line + 1)
        if newline < 0:
            return True
        start = newline + 1
    return False


def _without_long_lines(block: bytes, max_line: int) -> list[bytes | None]:
    """Whole lines as they are, with None in the place of each that is too long."""
    pieces: list[bytes | None] = []
    kept: list[bytes] = []
    for line in block.split(b"\n"):
        if len(line) <= max_line:
            kept.append(line)
            continue
        if kept:
            pieces.append(b"\n".join(kept))
            kept = []
        pieces.append(None)
    if kept:
        pieces.append(b"\n".join(kept))
    return pieces
