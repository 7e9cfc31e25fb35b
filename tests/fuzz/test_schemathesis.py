"""Schemathesis against a running service: all its checks, and the links of the document."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from tests.e2e.process import serving
from tests.support import Database

ROOT = Path(__file__).parents[2]

EXAMPLES = max(5, int(os.environ.get("INPUTS", "0")) // 2_000)


async def test_the_document_is_kept(database: Database, tmp_path: Path) -> None:
    """Whatever the document allows, and what it does not, is answered as it says."""
    async with serving(database, standing_delay=10) as process:
        run = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", str(Path(__file__).with_name("schemathesis.toml"))),
            *("run", f"{process.url}/openapi.json"),
            *("--max-examples", str(EXAMPLES), "--seed", os.environ.get("SEED", "1")),
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await run.communicate()
    assert run.returncode == 0, said.decode()
    links = re.search(r"API Links: +(\d+) covered", said.decode())
    assert links is not None, said.decode()
    assert int(links[1]) > 0, said.decode()
