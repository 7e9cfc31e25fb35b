"""``verifier migrate``: brings the primary's schema up to date."""

from __future__ import annotations

import asyncio
import os

import typer

from verifier.config import Config
from verifier.errors import ConfigError
from verifier.ledger.migrate import migrate as bring_up_to_date


def primary_dsn() -> str:
    """VERIFIER_PRIMARY_DSN; ConfigError when it is not set."""
    dsn = Config.from_env(os.environ).primary_dsn
    if not dsn:
        raise ConfigError("VERIFIER_PRIMARY_DSN is not set; expected the DSN of the primary")
    return dsn


def migrate() -> None:
    """Bring the schema of the primary (VERIFIER_PRIMARY_DSN) up to date.

    Safe to run at any time, by several at once, and while the service runs.
    """
    for name in asyncio.run(bring_up_to_date(primary_dsn())):
        typer.echo(f"applied {name}", err=True)
    typer.echo("the schema is up to date", err=True)
