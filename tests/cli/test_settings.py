"""Settings from a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from verifier.cli.settings import env_file_of
from verifier.errors import ConfigError


def test_lines_are_taken_as_they_are(tmp_path: Path) -> None:
    """What follows the first ``=`` is the value, whatever it has; comments and blanks go."""
    file = tmp_path / "env"
    file.write_text(
        "# databases\n\nVERIFIER_PRIMARY_DSN=postgresql://h/d?a=b#c\n  EMPTY=\n", "utf-8"
    )
    assert env_file_of(file) == {"VERIFIER_PRIMARY_DSN": "postgresql://h/d?a=b#c", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\nVERIFIER_X\n", "line 2: expected NAME=VALUE"),
        ("export A=1\n", "line 1: expected NAME=VALUE"),
        ("A=1\0\n", "line 1: A has a NUL character"),
        ("A='1'\n", "line 1: A begins with a quotation mark; expected the value as it is"),
    ],
)
def test_a_line_that_is_none(tmp_path: Path, text: str, expected: str) -> None:
    """The error names the file and the line."""
    file = tmp_path / "env"
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as told:
        env_file_of(file)
    assert str(told.value) == f"--env-file {file}, {expected}"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The error names it."""
    with pytest.raises(ConfigError, match=r"--env-file .*: .*No such file"):
        env_file_of(tmp_path / "none")


def test_what_could_be_read_only_once(tmp_path: Path) -> None:
    """A pipe is refused, and not waited for."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="expected a regular file"):
        env_file_of(tmp_path / "pipe")
