"""``verifier check`` as its user sees it: files, summary, exit code."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tests.cli.fake_service import FakeService, Turn
from tests.cli.test_credentials import KEY, OTHER
from verifier.cli.check import check
from verifier.cli.lines import CHUNK_LINES, LINE_BYTES
from verifier.errors import VerifierError

app = typer.Typer()
app.command()(check)


class Outcome:
    """What a run of the command left."""

    def __init__(self, code: int, stdout: str, stderr: str, out: Path) -> None:
        self.code = code
        self.stdout = stdout
        self.stderr = stderr
        self.answers: list[dict[str, Any]] = (
            [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
        )


async def run(path: Path, text: str, given: FakeService | None = None, *options: str) -> Outcome:
    """Run ``check`` on a file with this text, against a service that answers all or as given."""
    file, out = path / "questions.ndjson", path / "answers.ndjson"
    file.write_text(text)
    async with (given or FakeService()).serving() as service:
        arguments = [str(file), "-o", str(out), "--url", service.url, *options]
        result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    error = str(result.exception) if isinstance(result.exception, VerifierError) else ""
    return Outcome(result.exit_code, result.stdout, result.stderr + error, out)


def questions(*wants: str) -> str:
    """A question a verdict."""
    asked = [{"reference": str(index), "want": want} for index, want in enumerate(wants)]
    return "".join(json.dumps(question) + "\n" for question in asked)


async def test_all_checked(tmp_path: Path) -> None:
    """Exit code 0, an answer a line in order, and a count a verdict."""
    text = questions("match", "mismatch", "not_found", "pending", "match")
    outcome = await run(tmp_path, text)
    assert outcome.code == 0
    assert [answer["reference"] for answer in outcome.answers] == list("01234")
    summary = dict(line.split() for line in outcome.stdout.splitlines())
    assert summary == {
        "match": "2",
        "mismatch": "1",
        "not_found": "1",
        "pending": "1",
        "lines": "5",
    }


async def test_invalid_is_not_checked(tmp_path: Path) -> None:
    """A question that is no valid one is answered, but the exit code is 1 and says why."""
    outcome = await run(tmp_path, questions("match", "invalid"))
    assert outcome.code == 1
    assert [answer["verdict"] for answer in outcome.answers] == ["match", "invalid"]
    assert "not all lines were checked: 1 invalid" in outcome.stderr


async def test_unavailable_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stays unavailable is written as such, and the exit code is 1."""
    turns = [Turn(unavailable=frozenset("1"))] * 2
    monkeypatch.setattr("verifier.cli.asking._LONGEST_WAIT", 0.0)
    outcome = await run(
        tmp_path, questions("match", "match"), FakeService(turns), "--attempts", "1"
    )
    assert outcome.code == 1
    assert [answer["verdict"] for answer in outcome.answers] == ["match", "unavailable"]
    assert "1 unavailable" in outcome.stderr


async def test_service_goes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was answered before the end is kept; the message names the line to go on from."""
    monkeypatch.setattr("verifier.cli.asking._LONGEST_WAIT", 0.0)
    turns = [Turn(cut_after=2), *[Turn(cut_after=0)] * 5]
    outcome = await run(tmp_path, questions(*["match"] * 5), FakeService(turns), "--attempts", "2")
    assert outcome.code == 1
    assert len(outcome.answers) == 2
    assert "3 unanswered; asked in vain from line 3 on: " in outcome.stderr


async def test_the_key_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of --key, before that of the environment."""
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    file.chmod(0o600)
    service = FakeService()
    monkeypatch.setenv("VERIFIER_KEY", OTHER)
    await run(tmp_path, questions("match"), service, "--key", str(file))
    monkeypatch.setenv("VERIFIER_KEY", OTHER)
    await run(tmp_path, questions("match"), service)
    assert service.keys == [f"Bearer {KEY}", f"Bearer {OTHER}"]


async def test_a_file_that_is_open_to_others(tmp_path: Path) -> None:
    """It is warned of on stderr, and the questions are asked."""
    file = tmp_path / "key"
    file.write_text(KEY)
    file.chmod(0o644)
    outcome = await run(tmp_path, questions("match"), FakeService(), "--key", str(file))
    assert outcome.code == 0
    assert outcome.stderr.startswith(f"verifier: {file} holds a key and is open to others")


async def test_a_key_that_is_not_accepted(tmp_path: Path) -> None:
    """Exit code 2, with what was checked before and what to do."""
    turns = [Turn(), Turn(status=401)]
    outcome = await run(tmp_path, questions(*["match"] * (CHUNK_LINES + 1)), FakeService(turns))
    assert outcome.code == 2
    assert len(outcome.answers) == CHUNK_LINES
    assert "not all lines were checked: the rest was not asked; " in outcome.stderr
    assert "--key FILE or VERIFIER_KEY gives one" in outcome.stderr


async def test_a_limit_is_counted(tmp_path: Path) -> None:
    """The summary says how often it was full, and for how long in all."""
    turns = [Turn(status=429, retry_after="0"), Turn(status=429, retry_after="1")]
    outcome = await run(tmp_path, questions("match"), FakeService(turns))
    assert outcome.code == 0
    assert "rate_limited  2 times, 1 s" in outcome.stdout


async def test_many_chunks(tmp_path: Path) -> None:
    """A file of several chunks is one list of answers, blank lines counted as lines of it."""
    count = 2 * CHUNK_LINES + 1
    text = "\n" + questions(*["match"] * count)
    outcome = await run(tmp_path, text, FakeService([Turn(), Turn(cut_after=100)]))
    assert outcome.code == 0
    assert [int(answer["reference"]) for answer in outcome.answers] == list(range(count))
    assert [answer["index"] for answer in outcome.answers] == list(range(1, count + 1))


async def test_empty_file(tmp_path: Path) -> None:
    """Nothing to ask is nothing unchecked."""
    outcome = await run(tmp_path, "")
    assert outcome.code == 0


async def test_endless_line(tmp_path: Path) -> None:
    """A file that is no NDJSON is refused by its line, not read into memory."""
    outcome = await run(tmp_path, questions("match") + "x" * (LINE_BYTES + 1))
    assert outcome.code == 1
    assert "line 2 is longer than" in outcome.stderr


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    """A file that is not there, and a place that cannot be written, are named."""
    missing, present = tmp_path / "missing", tmp_path / "present"
    present.touch()
    result = CliRunner().invoke(app, [str(missing)])
    assert str(result.exception) == f"{missing}: No such file or directory"
    result = CliRunner().invoke(app, [str(present), "-o", str(missing / "answers")])
    assert str(result.exception) == f"{missing / 'answers'}: No such file or directory"


def test_pipes() -> None:
    """``-`` reads standard input and writes answers alone to standard output."""
    result = CliRunner().invoke(app, ["-", "-o", "-", "--url", "http://127.0.0.1:1"], input="")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "lines  0" in result.stderr
