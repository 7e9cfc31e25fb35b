"""``verifier migrate``: brings the primary's schema up to date."""

from __future__ import annotations

import asyncio

import typer

from verifier.cli.settings import with_primary
from verifier.database import migrate as schema


def migrate() -> None:
    """Bring the schema of the primary (VERIFIER_PRIMARY_DSN) up to date.

    Safe to run at any time, by several at once, and while the service runs.
    """
    for name in asyncio.run(schema.migrate(with_primary().databases.primary_dsn)):
        typer.echo(f"applied {name}", err=True)
    typer.echo("the schema is up to date", err=True)
