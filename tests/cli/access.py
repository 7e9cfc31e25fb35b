"""What the tests of the commands on tenants and keys share."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import typer
from typer.testing import CliRunner

from tests.support import Database, variables
from verifier.cli import keys, tenants
from verifier.errors import VerifierError

PEPPER = "pepper-of-these-tests-" * 2


class Said(NamedTuple):
    """What a command wrote, and how it ended."""

    code: int
    out: str
    err: str


class Operator:
    """Runs commands on the keys of a database, each in a thread, with a loop of its own."""

    def __init__(self, database: Database, **settings: object) -> None:
        given = {"primary_dsn": database.primary_dsn, "key_peppers": PEPPER} | settings
        # An error message in one line, as it can be searched.
        self._environment = {**variables(**given), "COLUMNS": "400", "NO_COLOR": "1"}

    async def keys(self, *arguments: str) -> Said:
        """``verifier keys``."""
        return await self._run(keys.app, arguments)

    async def tenants(self, *arguments: str) -> Said:
        """``verifier tenants``."""
        return await self._run(tenants.app, arguments)

    async def _run(self, app: typer.Typer, arguments: tuple[str, ...]) -> Said:
        result = await asyncio.to_thread(CliRunner().invoke, app, arguments, env=self._environment)
        if isinstance(result.exception, VerifierError):
            # As the root of all commands shows it.
            return Said(2, result.stdout, f"{result.stderr}verifier: {result.exception}\n")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)
