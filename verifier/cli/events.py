"""``verifier tenants events``: what was noticed of how tenants ask."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from verifier.cli.stores import moment, table, with_store


def events(
    tenant: Annotated[
        str | None, typer.Argument(metavar="[TENANT]", help="Only this tenant's.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=10_000, help="At most.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="An object a line.")] = False,
) -> None:
    """Show keys that asked as guessers do and were held back, the newest first.

    They are kept for 90 days. `verifier keys release LABEL` lets one ask as before.
    """
    rows = with_store(lambda store: store.events(tenant, limit), reads=True)
    if as_json:
        for row in rows:
            typer.echo(msgspec.json.encode(row).decode())
        return
    heads = ("when", "tenant", "key", "name", "kind", "detail")
    shown = [
        (moment(row.at), row.tenant, row.label, row.name, row.kind, row.detail) for row in rows
    ]
    typer.echo(table(heads, shown))
