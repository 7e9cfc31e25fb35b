"""``verifier ledger import`` and ``verifier migrate``, over real databases."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support import Database, variables
from verifier.cli.loading import LoadError
from verifier.cli.root import app
from verifier.errors import ConfigError
from verifier.synthetic.ledger import generate


@pytest.fixture
def runner(database: Database) -> CliRunner:
    """Run commands against a fresh database, whose schema is up to date."""
    runner = CliRunner(env=variables(primary_dsn=database.primary_dsn))
    result = runner.invoke(app, ["migrate"])
    assert result.exit_code == 0
    assert "applied 0001_invoice" in result.stderr
    return runner


def counts(stdout: str) -> dict[str, int]:
    """The summary."""
    pairs = map(str.split, stdout.splitlines())
    return {name: int(count.replace(",", "")) for name, count in pairs}


def test_import_twice(runner: CliRunner, tmp_path: Path) -> None:
    """All lines are accepted at first, unchanged when imported again, and the exit code is 0."""
    file = tmp_path / "ledger.ndjson"
    file.write_bytes(b"".join(generate(300, 7, date(2026, 11, 24))))
    first = runner.invoke(app, ["ledger", "import", str(file)])
    assert first.exit_code == 0
    assert counts(first.stdout) == {"accepted": 300, "unchanged": 0, "rejected": 0}
    again = runner.invoke(app, ["ledger", "import", "-"], input=file.read_bytes())
    assert again.exit_code == 0
    assert counts(again.stdout) == {"accepted": 0, "unchanged": 300, "rejected": 0}


def test_rejected_lines(runner: CliRunner, tmp_path: Path) -> None:
    """Rejected lines are shown by number, field, code and what was expected; the first 20 only."""
    good = list(generate(3, 7, date(2026, 11, 24)))
    bad = json.loads(good[1]) | {"date": "2026-13-01", "status": "lost"}
    lines = [good[0], json.dumps(bad).encode() + b"\n", b"\n", *[b"?\n"] * 1500, good[2]]
    file, rejects = tmp_path / "ledger.ndjson", tmp_path / "rejects.ndjson"
    file.write_bytes(b"".join(lines))
    result = runner.invoke(app, ["ledger", "import", str(file), "--rejects", str(rejects)])
    assert result.exit_code == 1
    assert counts(result.stdout) == {"accepted": 2, "unchanged": 0, "rejected": 1501}
    shown = result.stderr.splitlines()
    assert shown[0] == "line 2, date: bad_format, expected YYYY-MM-DD"
    assert shown[1].startswith("line 2, status: bad_format, expected ")
    assert shown[2] == "line 4: bad_format, expected JSON object"
    assert shown[-1] == f"… and 1,481 more rejected lines; all are in {rejects}"
    assert len(shown) == 22
    written = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [rejection["line"] for rejection in written] == [2, *range(4, 1504)]
    assert written[0]["errors"][0]["field"] == "date"


def test_database_without_schema(database: Database, tmp_path: Path) -> None:
    """Importing before migrating says so."""
    file = tmp_path / "ledger.ndjson"
    file.write_bytes(b"".join(generate(3, 7, date(2026, 11, 24))))
    runner = CliRunner(env=variables(primary_dsn=database.primary_dsn))
    result = runner.invoke(app, ["ledger", "import", str(file)])
    assert isinstance(result.exception, LoadError)
    assert "run `verifier migrate`" in str(result.exception)


@pytest.mark.parametrize("command", [["migrate"], ["serve"], ["ledger", "import", "-"]])
def test_primary_must_be_named(command: list[str]) -> None:
    """Commands on given databases say which variable they miss."""
    result = CliRunner(env=variables(primary_dsn="")).invoke(app, command)
    assert isinstance(result.exception, ConfigError)
    assert "VERIFIER_PRIMARY_DSN is not set" in str(result.exception)
