"""Reading NDJSON in pieces of bounded size, and knowing the line numbers."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from verifier.errors import VerifierError

STDIN = Path("-")
# Enough that a round trip does not matter, little enough to hold in memory and to ask again.
CHUNK_LINES = 10_000
CHUNK_BYTES = 8 << 20
# No question and no invoice comes near; without a bound, a file without newlines fills memory.
LINE_BYTES = 1 << 20
BLOCK_BYTES = 1 << 20


class FileError(VerifierError):
    """A file that cannot be opened, or is no NDJSON: says which, and in which line."""

    code = "bad_file"


class Chunk(msgspec.Struct):
    """Some lines of a file, without the blank ones; ``numbers`` are their line numbers, from 1."""

    lines: list[bytes]
    numbers: list[int]
    # How many bytes of the file they are, blank lines included.
    size: int

    @property
    def share(self) -> float:
        """Bytes of the file for each line."""
        return self.size / max(1, len(self.lines))


def blocks(source: BinaryIO) -> Iterator[bytes]:
    """The file in blocks of whole lines, without the last one's end; FileError as ``chunks``."""
    number, partial = 1, b""
    while read := source.read(BLOCK_BYTES):
        head, newline, tail = read.rpartition(b"\n")
        if newline:
            whole = partial + head
            number += whole.count(b"\n") + 1
            partial = tail
            yield whole
        else:
            partial += tail
        if len(partial) > LINE_BYTES:
            raise _endless(number)
    if partial:
        yield partial


@contextmanager
def opened(file: Path) -> Iterator[tuple[BinaryIO, int | None]]:
    """The file and its size in bytes, which is None for a pipe; "-" is standard input.

    Raises FileError when it cannot be opened.
    """
    if file == STDIN:
        yield sys.stdin.buffer, None
        return
    with _open(file, "rb") as source:
        status = os.fstat(source.fileno())
        yield source, status.st_size if stat.S_ISREG(status.st_mode) else None


def created(file: Path) -> BinaryIO:
    """The file, empty, to be written. Raises FileError when it cannot be."""
    return _open(file, "wb")


def _open(file: Path, mode: Literal["rb", "wb"]) -> BinaryIO:
    try:
        return file.open(mode)
    except OSError as error:
        raise FileError(f"{file}: {error.strerror}") from error


def chunks(source: BinaryIO, most: int = CHUNK_LINES) -> Iterator[Chunk]:
    """The file in chunks of at most ``most`` lines. Raises FileError for an endless line."""
    chunk = Chunk([], [], 0)
    number = 0
    while line := source.readline(LINE_BYTES + 1):
        number += 1
        if len(line) > LINE_BYTES:
            raise _endless(number)
        chunk.size += len(line)
        if line := line.strip():
            chunk.lines.append(line)
            chunk.numbers.append(number)
        if len(chunk.lines) == most or chunk.size >= CHUNK_BYTES:
            yield chunk
            chunk = Chunk([], [], 0)
    if chunk.size:
        yield chunk


def _endless(number: int) -> FileError:
    return FileError(f"line {number} is longer than {LINE_BYTES:,} bytes; expected NDJSON")
