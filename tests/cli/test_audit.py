"""``verifier audit`` as its user sees it: what it prints, and its exit codes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from tests.access.support import PEPPER, SECRET, emptied, filled, tampered
from tests.support import Database, connected
from verifier.access.audit import Act, append, verify
from verifier.cli.root import app
from verifier.errors import ConfigError, VerifierError


@pytest.fixture
async def primary(ledger: Database) -> AsyncIterator[asyncpg.Connection]:
    """Connect to the primary, where the audit log is empty."""
    async with connected(ledger.primary_dsn) as connection:
        await emptied(connection)
        yield connection
        await emptied(connection)


@pytest.fixture
def environ(ledger: Database) -> Mapping[str, str]:
    """What an operator has in the environment."""
    return {"VERIFIER_PRIMARY_DSN": ledger.primary_dsn, "VERIFIER_KEY_PEPPERS": PEPPER}


async def run(environ: Mapping[str, str], *arguments: str) -> Result:
    """Run the command in a thread of its own, where it has its own event loop."""
    return await asyncio.to_thread(CliRunner().invoke, app, ["audit", *arguments], env=environ)


async def head_of(connection: asyncpg.Connection) -> str:
    """The head as the command writes it."""
    head = (await verify(connection, [SECRET])).head
    return f"{head.seq}:{head.mac.hex()}"


@pytest.mark.parametrize("command", ["verify", "list"])
def test_every_command_has_help(command: str) -> None:
    """``--help`` says what a command does, in whole sentences."""
    result = CliRunner().invoke(app, ["audit", command, "--help"])
    assert result.exit_code == 0
    assert "." in result.stdout


async def test_a_whole_log(primary: asyncpg.Connection, environ: Mapping[str, str]) -> None:
    """Exit code 0, how many entries there are, and the head to keep."""
    await filled(primary, 3)
    result = await run(environ, "verify")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"intact  3\nhead    {await head_of(primary)}\n"


async def test_an_altered_log(primary: asyncpg.Connection, environ: Mapping[str, str]) -> None:
    """Exit code 1, which entry is wrong and how, and the head of what is intact before it."""
    await filled(primary, 1)
    head = await head_of(primary)
    await filled(primary, 2)
    async with tampered(primary):
        await primary.execute("UPDATE audit_entry SET actor = 'nobody' WHERE seq = 2")
    result = await run(environ, "verify")
    assert result.exit_code == 1
    assert result.stdout == f"intact  1\nhead    {head}\n"
    assert result.stderr.startswith("verifier: entry 2: altered")


async def test_a_kept_head(primary: asyncpg.Connection, environ: Mapping[str, str]) -> None:
    """A head that was shown is accepted as long as its entry is there, and then missed."""
    await filled(primary, 3)
    head = await head_of(primary)
    assert (await run(environ, "verify", "--head", head)).exit_code == 0
    async with tampered(primary):
        await primary.execute("DELETE FROM audit_entry WHERE seq > 1")
    result = await run(environ, "verify", "--head", head)
    assert (result.exit_code, result.stderr) == (1, "verifier: entries 2 to 3: missing\n")


async def test_another_pepper(primary: asyncpg.Connection, environ: Mapping[str, str]) -> None:
    """A wrong pepper is named as what may be wrong."""
    await filled(primary, 3)
    result = await run({**environ, "VERIFIER_KEY_PEPPERS": PEPPER.upper()}, "verify")
    assert result.exit_code == 1
    assert result.stderr.startswith("verifier: entries 1 to 3: under none of VERIFIER_KEY_PEPPERS")


async def test_a_retired_pepper(primary: asyncpg.Connection, environ: Mapping[str, str]) -> None:
    """With the pepper that is in use before the retired one, all entries verify."""
    await filled(primary, 1)
    result = await run({**environ, "VERIFIER_KEY_PEPPERS": f"{PEPPER.upper()},{PEPPER}"}, "verify")
    assert result.exit_code == 0


@pytest.mark.parametrize("head", ["3", "3:ab", f"x:{'0' * 64}", f"-1:{'0' * 64}", "3:" + "g" * 64])
async def test_no_head(environ: Mapping[str, str], head: str) -> None:
    """What cannot be a head is wrong usage."""
    result = await run(environ, "verify", f"--head={head}")
    assert result.exit_code == 2
    assert "--head" in result.stderr


@pytest.mark.parametrize("name", ["VERIFIER_PRIMARY_DSN", "VERIFIER_KEY_PEPPERS"])
async def test_a_setting_is_missing(environ: Mapping[str, str], name: str) -> None:
    """Without a primary or peppers nothing is said of the log, but which of them is missing."""
    result = await run({**environ, name: ""}, "verify")
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception).startswith(f"{name} is not set")
    assert result.stdout == ""


@pytest.mark.parametrize("command", ["verify", "list"])
async def test_a_standby_is_not_asked(
    ledger: Database, environ: Mapping[str, str], command: str
) -> None:
    """A standby may lack the last entries, so that nothing is said from it."""
    asked = {**environ, "VERIFIER_PRIMARY_DSN": ledger.replica_dsns[0]}
    result = await run(asked, command)
    assert isinstance(result.exception, VerifierError)
    assert str(result.exception) == "the audit log cannot be read from the primary: read_only"


async def test_the_list(primary: asyncpg.Connection, environ: Mapping[str, str]) -> None:
    """A line an entry in aligned columns, also where characters take two, and nothing hidden."""
    for subject, address in (("航天", ""), ("x\n9\x1b[2J", "10.0.0.1")):
        async with primary.transaction():
            await append(
                primary,
                SECRET,
                Act(
                    at=datetime(2026, 11, 3, 12, 30, 5, tzinfo=UTC),
                    actor="cli",
                    action="tenant.create",
                    subject=subject,
                    address=address,
                    detail={"quota": 5},
                ),
            )
    result = await run(environ, "list")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        '1  2026-11-03T12:30:05Z  cli  tenant.create  航天         -         {"quota":5}',
        r'2  2026-11-03T12:30:05Z  cli  tenant.create  x\n9\x1b[2J  10.0.0.1  {"quota":5}',
    ]


async def test_the_list_as_json(primary: asyncpg.Connection, environ: Mapping[str, str]) -> None:
    """With ``--json`` an object a line, whose detail is an object too, from where one wants."""
    await filled(primary, 4)
    result = await run(environ, "list", "--after", "1", "--limit", "2", "--json")
    listed = [json.loads(line) for line in result.stdout.splitlines()]
    assert [entry["seq"] for entry in listed] == [2, 3]
    mac = await primary.fetchval("SELECT encode(mac, 'hex') FROM audit_entry WHERE seq = 2")
    assert listed[0] == {
        "seq": 2,
        "at": "2026-11-03T00:02:00Z",
        "actor": "actor",
        "action": "key.create",
        "subject": "tenant 2",
        "detail": {"number": 2},
        "address": "10.0.0.1",
        "mac": mac,
    }


async def test_an_empty_list(primary: asyncpg.Connection, environ: Mapping[str, str]) -> None:
    """Nothing is printed where there is nothing."""
    result = await run(environ, "list")
    assert (result.exit_code, result.stdout) == (0, "")
