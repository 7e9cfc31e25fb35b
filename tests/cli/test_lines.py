"""Reading NDJSON in pieces."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.cli import lines
from verifier.cli.lines import FileError, blocks, chunks, opened

TEXTS = st.lists(st.sampled_from([b"", b"a", b" ", b"\n", b"bc", b"\r"])).map(b"".join)


@given(TEXTS, st.integers(1, 4))
def test_chunks_lose_nothing(text: bytes, most: int) -> None:
    """Every line that is not blank is in one chunk, under its number; the sizes add up."""
    found = list(chunks(BytesIO(text), most))
    numbered = [pair for chunk in found for pair in zip(chunk.numbers, chunk.lines, strict=True)]
    expected = [
        (number, line.strip()) for number, line in enumerate(text.split(b"\n"), 1) if line.strip()
    ]
    assert numbered == expected
    assert sum(chunk.size for chunk in found) == len(text)
    assert all(len(chunk.lines) <= most for chunk in found)


@given(TEXTS, st.integers(1, 9))
def test_blocks_are_whole_lines(text: bytes, size: int) -> None:
    """Blocks joined by line ends are the file, but for the line end after the last one."""
    before, lines.BLOCK_BYTES = lines.BLOCK_BYTES, size
    try:
        found = b"\n".join(blocks(BytesIO(text)))
    finally:
        lines.BLOCK_BYTES = before
    assert found == text.removesuffix(b"\n")


def test_endless_line_is_refused() -> None:
    """Both readers name the line that has no end in sight."""
    text = b"{}\n{}\n" + b"x" * (3 << 20)
    for reader in (blocks, chunks):
        with pytest.raises(FileError, match="line 3 is longer than"):
            list(reader(BytesIO(text)))


def test_size_is_known_for_files_alone(tmp_path: Path) -> None:
    """A file has a size; a device has none."""
    (tmp_path / "file").write_bytes(b"12345")
    with opened(tmp_path / "file") as (_, size):
        assert size == 5
    with opened(Path("/dev/null")) as (_, size):
        assert size is None
