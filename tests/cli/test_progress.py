"""The progress bar: on a terminal alone, and right at the end."""

from __future__ import annotations

import re

import pytest

from verifier.cli.progress import LineProgress


def test_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody gets a bar who only reads stderr from a file."""
    with LineProgress("importing", 100) as progress:
        progress.advance(10, 100)
        progress.say("line 3: bad_format")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.strip() == "line 3: bad_format"


def test_counts_rate_and_share(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A terminal gets lines, their rate, and the share of the bytes, all of them at the end."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with LineProgress("importing", 2000) as progress:
        for _ in range(1000):
            progress.advance(1, 1.5)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    last = shown.replace("\r", "\n").strip().splitlines()[-1]
    assert re.search(r"importing .* 75% 1,000 lines [\d,]+/s ", last), last
