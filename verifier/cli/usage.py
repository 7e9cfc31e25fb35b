"""``verifier tenants usage``: what tenants have asked, by day, endpoint and verdict."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated

import msgspec
import typer

from verifier.access.reports import Period, Report, Reports, period_of
from verifier.cli.settings import with_primary
from verifier.cli.stores import moment, table
from verifier.database.primary import Primary
from verifier.invoice.verdict import SHANGHAI


def usage(
    tenant: Annotated[
        str | None, typer.Argument(metavar="[TENANT]", help="Only this tenant's.")
    ] = None,
    first: Annotated[
        str | None,
        typer.Option("--from", metavar="DAY", help="The first day: 2026-11-01. That month's."),
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="DAY", help="The last day. Today.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show what tenants have asked, by day in Shanghai: this month's, unless a period is given."""
    period = period_of(first, last, datetime.now(SHANGHAI).date())
    report = asyncio.run(_report(tenant, period))
    total = sum(row.questions for row in report.rows)
    if as_json:
        shown = {"from": period.first, "to": period.last, "days": report.rows, "total": total}
        typer.echo(msgspec.json.encode(shown | {"as_of": report.as_of}).decode())
        return
    heads = ("tenant", "day", "endpoint", "verdict", "questions")
    rows = [
        (row.tenant, row.day.isoformat(), row.endpoint, row.verdict, f"{row.questions:,}")
        for row in report.rows
    ]
    typer.echo(table(heads, rows))
    typer.echo(
        f"{total:,} questions from {period.first} to {period.last}; as of {moment(report.as_of)}",
        err=True,
    )


async def _report(tenant: str | None, period: Period) -> Report:
    config = with_primary()
    primary = Primary(config.databases, config.ingest)
    try:
        return await Reports(primary).of_tenants(tenant, period)
    finally:
        await primary.close()
