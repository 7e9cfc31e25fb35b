"""What it takes to add a kind of invoice: an entry, a migration and a row of docs/questions.md."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import aiohttp
import msgspec
import pytest

from tests.e2e.process import started
from tests.invoice.lines import CODES, example
from tests.support import variables
from verifier.invoice.kinds import KINDS

ROOT = Path(__file__).parents[2]

ENTRY = '    Kind("made_up", "虚构发票", _TOTAL, _SHORT, eighths="8", also_called=("假票",)),\n'
MIGRATION = "ALTER TYPE invoice_kind ADD VALUE 'made_up';\n"
ROW = "| `made_up` | 虚构发票 | 10 | 8 | `total` |\n"

CODE = f"{CODES[10][:7]}8{CODES[10][8:]}"


def before(path: Path, place: str, text: str) -> None:
    """Put text into a file, before a place that it has once."""
    content = path.read_text()
    assert content.count(place) == 1
    path.write_text(content.replace(place, text + place))


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of this tree to which a kind was added; programs that start now are its own."""
    for name in ("verifier", "tests", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    before(tmp_path / "verifier/invoice/kinds.py", '    Kind("vat_special"', ENTRY)
    (tmp_path / "verifier/database/migrations/9999_made_up.sql").write_text(MIGRATION)
    before(tmp_path / "docs/questions.md", "| `vat_special` ", ROW)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


async def migrated(dsn: str) -> None:
    """Bring a database up to date with the copy."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "verifier", "migrate"),
        env=os.environ | variables(primary_dsn=dsn),
    )
    async with asyncio.timeout(60):
        assert await program.wait() == 0


@pytest.mark.usefixtures("tree")
async def test_a_new_kind_takes_three_files(blank: str) -> None:
    """It is asked for its factor, taken into the ledger, inferred from its code, and documented."""
    await migrated(blank)
    line = msgspec.json.encode(example(KINDS["vat_special"]) | {"kind": "made_up", "code": CODE})
    question = {"code": CODE, "number": "12345678", "date": "2026-03-01"}
    ndjson = {"Content-Type": "application/x-ndjson"}
    async with (
        started({"primary_dsn": blank}) as service,
        aiohttp.ClientSession(service.url) as session,
    ):
        async with session.post("/v1/ledger/invoices", data=line, headers=ndjson) as response:
            taken = await response.json()
        async with session.post("/v1/verify", json=question) as response:
            asked = await response.json(content_type=None)
        seen = {"Consistency-Token": taken["token"]}
        question |= {"total": "113.00"}
        async with session.post("/v1/verify", json=question, headers=seen) as response:
            inferred = await response.json(content_type=None)
        question |= {"kind": "假票"}
        async with session.post("/v1/verify", json=question, headers=seen) as response:
            called = await response.json(content_type=None)
        async with session.get("/openapi.json") as response:
            shapes = (await response.json())["components"]["schemas"]
    assert (taken["accepted"], taken["rejected"]) == (1, [])
    assert [(error["field"], error["code"]) for error in asked["errors"]] == [("total", "required")]
    assert (inferred["verdict"], inferred["invoice"]["kind"]) == ("match", "made_up")
    assert inferred["hints"] == []
    assert called["verdict"] == "match"
    assert "made_up" in shapes["Invoice"]["properties"]["kind"]["enum"]


@pytest.mark.usefixtures("tree")
def test_tests_know_a_new_kind() -> None:
    """With these three files the tests that go through all kinds pass."""
    every = ["tests/invoice/test_kinds.py", "tests/wire/test_lines.py", "tests/synthetic"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "kind or ingested", *every],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stdout
