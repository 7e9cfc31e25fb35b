"""The house's layout holds: imports point down, modules are small, and the contracts bite."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "verifier").rglob("*.py"))
LONGEST = 300


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of pyproject.toml against the package in a folder."""
    linter = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [str(linter), "--no-cache"],
        cwd=root,
        env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package, to break."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(
        ROOT / "verifier", tmp_path / "verifier", ignore=shutil.ignore_patterns("__pycache__")
    )
    return tmp_path


def test_imports_point_down() -> None:
    """No contract of pyproject.toml is broken."""
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("invoice/kinds.py", "import verifier.engine.cache", "Imports point down"),
        ("engine/cache.py", "import verifier.ledger.changes.gaps", "Imports point down"),
        ("wire/ndjson.py", "import verifier.database.connections", "Imports point down"),
        ("ledger/changes/gaps.py", "import verifier.ledger.lookup.probes", "Inside the ledger"),
        ("database/hosts.py", "import verifier.database.scouts", "Inside the database"),
        ("api/server/crowd.py", "import verifier.api.health", "Inside the API"),
        ("embedded/settings.py", "import verifier.invoice.kinds", "embedded cluster knows only"),
        ("engine/cache.py", "import aiohttp", "HTTP stays in"),
        ("wire/ndjson.py", "import aiohttp", "HTTP stays in"),
        ("api/routes.py", "import asyncpg", "SQL stays in"),
        ("invoice/kinds.py", "import asyncio", "The domain does no I/O"),
        ("invoice/kinds.py", "import json", "The domain does no I/O"),
        ("invoice/kinds.py", "import orjson", "The domain does no I/O"),
        ("stray.py", "", "Imports point down"),
    ],
)
def test_contracts_bite(copy: Path, module: str, line: str, contract: str) -> None:
    """An import that points up, or a module that no layer knows, breaks its contract."""
    file = copy / "verifier" / module
    text = file.read_text() if file.exists() else ""
    file.write_text(f"{text}\n{line}\n")
    result = lint_imports(copy)
    assert result.returncode == 1
    assert any(
        contract in broken and "BROKEN" in broken for broken in result.stdout.splitlines()
    ), result.stdout


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_are_small_and_say_what_they_are(module: Path) -> None:
    """A module has a docstring and at most 300 lines, or says in its first line why not."""
    text = module.read_text()
    lines = text.splitlines()
    assert ast.get_docstring(ast.parse(text)), "no docstring"
    assert len(lines) <= LONGEST or "long because" in lines[0].lower()


def openings(module: Path, text: str) -> list[str]:
    """What a module calls to open a connection that is not its to open."""
    inside = module.relative_to(ROOT / "verifier").parts[0]
    if inside == "database":
        return []
    own = {"asyncpg.connect"} if inside == "embedded" else set()
    opens = {"asyncpg.connect", "asyncpg.create_pool", "open_writer"} - own
    called = (node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
    return sorted(opens & set(map(ast.unparse, called)))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_connections_are_opened_in_one_place(module: Path) -> None:
    """Only database opens connections, so that it alone bounds them and says which may write."""
    assert openings(module, module.read_text()) == []


@pytest.mark.parametrize(
    ("module", "line", "found"),
    [
        ("ledger/lookup/fleet.py", "await asyncpg.connect(dsn)", ["asyncpg.connect"]),
        ("cli/doctor.py", "asyncpg.create_pool()", ["asyncpg.create_pool"]),
        ("ledger/ingest/writer.py", "open_writer(dsn, config, ingest)", ["open_writer"]),
        ("embedded/replication.py", "asyncpg.connect(dsn)", []),
        ("database/primary.py", "open_writer(dsn, config, ingest)", []),
    ],
)
def test_that_place_is_watched(module: str, line: str, found: list[str]) -> None:
    """A connection that is opened elsewhere is found, whatever it is for."""
    assert openings(ROOT / "verifier" / module, f"async def f():\n    {line}") == found
