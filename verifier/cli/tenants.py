"""``verifier tenants``: whose keys there are, and how much each tenant may ask."""

from __future__ import annotations

from typing import Annotated

import typer

from verifier.cli.events import events
from verifier.cli.stores import Burst, Rate, limit_of, limit_text, moment, table, with_store
from verifier.cli.usage import usage

app = typer.Typer(
    no_args_is_help=True, help="Tenants, to whom keys belong. Works on VERIFIER_PRIMARY_DSN."
)

app.command()(usage)
app.command()(events)

Name = Annotated[
    str, typer.Argument(metavar="TENANT", help="Small letters, digits and hyphens: acme-erp.")
]


@app.command()
def create(name: Name, rate: Rate = None, burst: Burst = None) -> None:
    """Make a tenant, without a limit unless --rate says one."""
    limit = limit_of(rate, burst)
    with_store(lambda store: store.create_tenant(name, limit))
    typer.echo(f"made {name}; next: verifier keys create {name} NAME", err=True)


@app.command("list")
def list_tenants() -> None:
    """List tenants, their limits, and how many keys of each hold."""
    rows = with_store(lambda store: store.tenants(), reads=True)
    heads = ("tenant", "keys", "limit", "created")
    typer.echo(
        table(
            heads,
            [
                (row.name, str(row.keys), limit_text(row.limit), moment(row.created_at))
                for row in rows
            ],
        )
    )


@app.command()
def limits(
    name: Name,
    rate: Rate = None,
    burst: Burst = None,
    none: Annotated[bool, typer.Option("--none", help="No limit any more.")] = False,
) -> None:
    """Set how much a tenant may ask; workers keep to it within VERIFIER_MAX_STALENESS."""
    if none == (rate is not None):
        raise typer.BadParameter(
            "expected either --rate N or --none; `verifier tenants list` shows the limits that are",
            param_hint="--rate",
        )
    limit = limit_of(rate, burst)
    with_store(lambda store: store.limit_tenant(name, limit))
    typer.echo(f"{name}: {'no limit' if limit is None else limit_text(limit)}", err=True)
