"""The command tree, and how errors are shown."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from tests.support import variables
from verifier import __version__
from verifier.cli.root import app

COMMANDS = [
    ["up"],
    ["serve"],
    ["migrate"],
    ["check"],
    ["ledger"],
    ["ledger", "generate"],
    ["ledger", "questions"],
    ["ledger", "import"],
    ["keys", "create"],
    ["keys", "list"],
    ["keys", "show"],
    ["keys", "revoke"],
    ["keys", "rotate"],
    ["keys", "release"],
    ["tenants", "usage"],
    ["tenants", "events"],
    ["tenants", "create"],
    ["tenants", "list"],
    ["tenants", "limits"],
    ["audit", "verify"],
    ["audit", "list"],
]


def verifier(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the program itself."""
    return subprocess.run(
        [sys.executable, "-m", "verifier", *arguments],
        env=os.environ | variables() | environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_version() -> None:
    """``--version`` names the program and its version."""
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout == f"verifier {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command: list[str]) -> None:
    """``--help`` says what a command does, in whole sentences."""
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "." in result.stdout


def test_error_is_one_line() -> None:
    """A wrong setting is one line on stderr with exit code 2, and no traceback."""
    result = verifier("serve", VERIFIER_CACHE_ENTRIES="many")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("verifier: VERIFIER_CACHE_ENTRIES='many': ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--port", "99999"],
        ["serve", "--workers", "0"],
        ["up", "--replicas", "-1"],
        ["up", "--rows", "many"],
        ["check"],
        ["no-such-command"],
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments: list[str]) -> None:
    """Wrong usage is exit code 2 with a message that says what is wrong."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "Error" in result.stderr
