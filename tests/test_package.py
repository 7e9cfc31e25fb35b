"""The package as a pod installs it: without PostgreSQL and without what tests need."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.support import variables

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the package and what it says it needs."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, str(ROOT)], check=True, timeout=300)
    return folder / "bin"


def test_serve_needs_no_more_than_the_package(installed: Path, tmp_path: Path) -> None:
    """It says ready and answers; that it has no database is no reason not to."""
    settings = variables(
        primary_dsn="postgresql://127.0.0.1:1/nowhere", connect_timeout=0.25, query_timeout=0.25
    )
    with subprocess.Popen(
        [installed / "verifier", "serve", "--port", "0"],
        cwd=tmp_path,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            said, url = process.stdout.readline().split()
            assert said == "ready"
            with urllib.request.urlopen(f"{url}/openapi.json", timeout=10) as response:
                assert "/v1/verify" in json.load(response)["paths"]
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_up_says_what_it_lacks(installed: Path, tmp_path: Path) -> None:
    """PostgreSQL comes with the extra `up` alone."""
    result = subprocess.run(
        [installed / "verifier", "up", "--port", "0"],
        cwd=tmp_path,
        env=os.environ | variables(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 2
    assert "install verifier[up]" in result.stderr
    assert "Traceback" not in result.stderr


def test_types_are_for_others_too(installed: Path) -> None:
    """Type checkers of programs that import it look at its annotations (PEP 561)."""
    assert list(installed.parent.glob("lib/python*/site-packages/verifier/py.typed"))
