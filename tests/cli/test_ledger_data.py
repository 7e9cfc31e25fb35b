"""``verifier ledger generate`` and ``questions`` as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from errno import ENOSPC
from pathlib import Path

import pytest
from typer.testing import CliRunner

from verifier.cli.ledger import app
from verifier.synthetic.ledger import Ledger, generate
from verifier.synthetic.questions import questions

UNTIL = date(2026, 11, 24)
LEDGER = ["--rows", "2500", "--seed", "3", "--until", "2026-11-24"]
# An error message in one line, as it can be searched.
WIDE = {"COLUMNS": "400", "NO_COLOR": "1"}


def run(*arguments: str) -> bytes:
    """Run a command that must succeed; what it wrote to standard output."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout_bytes


def test_generate_writes_the_ledger(tmp_path: Path) -> None:
    """Standard output and -o get the same bytes, those of the generator."""
    expected = b"".join(generate(2_500, 3, UNTIL))
    assert run("generate", *LEDGER) == expected
    file = tmp_path / "ledger.ndjson"
    assert run("generate", *LEDGER, "-o", str(file)) == b""
    assert file.read_bytes() == expected
    assert list(tmp_path.iterdir()) == [file]


def test_questions_are_written_with_their_answers(tmp_path: Path) -> None:
    """Questions go to the output; --expect gets each with the answer that it must get."""
    expect = tmp_path / "cases.ndjson"
    asked = run("questions", *LEDGER, "--count", "1200", "--expect", str(expect))
    assert asked == b"".join(questions(2_500, 3, UNTIL, 1_200))
    cases = [json.loads(line) for line in expect.read_bytes().splitlines()]
    assert [case["request"] for case in cases] == [json.loads(line) for line in asked.splitlines()]
    assert {case["expect"]["verdict"] for case in cases} >= {"match", "mismatch", "not_found"}


def test_questions_follow_the_mix_and_seed() -> None:
    """--mix, --zipf and --question-seed change what is asked."""
    usual = run("questions", *LEDGER, "--count", "50")
    for change in (["--mix", "match=1"], ["--zipf", "0"], ["--question-seed", "1"]):
        assert run("questions", *LEDGER, "--count", "50", *change) != usual
    assert run("questions", *LEDGER, "--count", "50") == usual


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "--rows", "-1"], "--rows"),
        (["generate", "--rows", "90000001"], "--rows"),
        (["generate", "--rows", "1", "--until", "2026-13-01"], "--until"),
        (["generate", "--rows", "1", "--until", "2020-01-01"], "2022-01-01"),
        (["generate", "--rows", "1", "-o", "/nonexistent/file"], "/nonexistent/file"),
        (["questions", "--rows", "0"], "at least 1"),
        (["questions", "--rows", "1", "--mix", "match"], "'match'"),
        (["questions", "--rows", "1", "--mix", "match=1,match=2"], "'match=2'"),
        (["questions", "--rows", "1", "--mix", "match=²"], "'match=²'"),
        (["questions", "--rows", "1", "--mix", "maybe=1"], "'maybe'"),
        (["questions", "--rows", "1", "--zipf", "steep"], "'steep'"),
        (["questions", "--rows", "1", "--expect", "-"], "--expect"),
    ],
)
def test_bad_arguments_are_named(arguments: list[str], message: str) -> None:
    """An argument that cannot be used ends with code 2 and says which one and why."""
    result = CliRunner().invoke(app, arguments, env=WIDE)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An output that cannot be completed does not appear under its name, nor half of it beside."""

    def full(self: Ledger) -> Iterator[bytes]:
        yield b"{}\n"
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr(Ledger, "lines", full)
    arguments = ["generate", "--rows", "1", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments, env=WIDE)
    assert result.exit_code == 2
    assert "No space left" in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_or_device_is_written_as_it_is() -> None:
    """Something that is no regular file is written to, never replaced."""
    run("generate", *LEDGER, "-o", "/dev/null")
    assert not Path("/dev/null").is_file()


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    """`verifier ledger generate … | head` ends without a word."""
    command = "from verifier.cli.ledger import app; app()"
    with subprocess.Popen(
        [sys.executable, "-c", command, "generate", "--rows", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"{")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=30) == 141
