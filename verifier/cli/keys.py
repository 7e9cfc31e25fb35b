"""``verifier keys``: who may ask. A key is shown once, when it is made."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from verifier.access.keys import MODES, SCOPES, Mode, Scope
from verifier.access.rows import KeyRow
from verifier.cli.stores import (
    Burst,
    Rate,
    duration,
    limit_of,
    limit_text,
    moment,
    table,
    with_store,
)

app = typer.Typer(
    no_args_is_help=True,
    help="Keys of callers. Works on VERIFIER_PRIMARY_DSN, with VERIFIER_KEY_PEPPERS.",
)

Which = Annotated[
    str,
    typer.Argument(metavar="LABEL", help="The first digits of the key's label, as `list` has it."),
]


@app.command()
def create(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="Whose key it is.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What you call it: erp, gateway-2.")],
    scopes: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help=f"What it is good for, comma-separated: {', '.join(SCOPES)}. Without explain, "
            "whoever asks is not told which fields differ, nor whether there is such an invoice.",
        ),
    ] = "verify,explain",
    mode: Annotated[
        str, typer.Option(help="live, or test: the same but for its prefix.", metavar="MODE")
    ] = "live",
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="For how long it holds: 90d, 12h.")
    ] = None,
    rate: Rate = None,
    burst: Burst = None,
) -> None:
    """Make a key, and print it: this once, and nowhere else.

    Workers know it within VERIFIER_MAX_STALENESS. In a script: `verifier keys create acme erp >
    key`.
    """
    kind = _mode(mode)
    wanted = _scopes(scopes)
    limit = limit_of(rate, burst)
    expires_at = None if expires is None else datetime.now(UTC) + _lifetime(expires)
    key = with_store(
        lambda store: store.create_key(
            tenant, name, kind, wanted, limit=limit, expires_at=expires_at
        )
    )
    _show_once(key)


@app.command("list")
def list_keys(
    tenant: Annotated[
        str | None, typer.Argument(metavar="[TENANT]", help="Only this tenant's.")
    ] = None,
    ended: Annotated[
        bool, typer.Option("--all", help="Those too that are revoked or have expired.")
    ] = False,
) -> None:
    """List keys by their labels; the keys themselves are not kept."""
    rows = with_store(lambda store: store.keys(tenant), reads=True)
    shown = [row for row in rows if row.live or ended]
    heads = ("label", "tenant", "name", "mode", "scopes", "limit", "last used", "holds until")
    typer.echo(table(heads, [_columns(row) for row in shown]))


@app.command()
def show(which: Which) -> None:
    """Show one key, by its label."""
    row = with_store(lambda store: store.key(which), reads=True)
    facts = {
        "label": row.label,
        "tenant": row.tenant,
        "name": row.name,
        "mode": row.mode,
        "scopes": ", ".join(row.scopes),
        "limit": limit_text(row.limit),
        "created": moment(row.created_at),
        "last used": moment(row.used_at),
        "expires": moment(row.expires_at),
        "revoked": moment(row.revoked_at),
        "held back until": moment(row.tight_until),
    }
    for fact, value in facts.items():
        typer.echo(f"{fact:15} {value}")


@app.command()
def revoke(which: Which) -> None:
    """Have a key hold no more, for good: every worker refuses it within VERIFIER_MAX_STALENESS."""
    row = with_store(lambda store: store.revoke_key(which))
    said = "revoked" if row.revoked_at is None else f"was revoked on {moment(row.revoked_at)}"
    typer.echo(f"{row.label} ({row.tenant}, {row.name}) {said}", err=True)


@app.command()
def release(which: Which) -> None:
    """Let a key ask as before that is held back, since it asked as guessers do."""
    row = with_store(lambda store: store.release_key(which))
    said = "was not held back" if row.tight_until is None else "is held back no more"
    typer.echo(f"{row.label} ({row.tenant}, {row.name}) {said}", err=True)


@app.command()
def rotate(
    which: Which,
    overlap: Annotated[
        str, typer.Option(metavar="TIME", help="For how long the old one still holds.")
    ] = "7d",
) -> None:
    """Make a key in the place of another, print it, and have the old one end after a while.

    Meanwhile both hold, so that nobody is refused who changes from one to the other.
    """
    key, old = with_store(
        lambda store: store.rotate_key(which, datetime.now(UTC), duration(overlap))
    )
    typer.echo(f"{old.label} ({old.tenant}, {old.name}) holds for {overlap} more", err=True)
    _show_once(key)


def _show_once(key: str) -> None:
    typer.echo(key)
    if sys.stdout.isatty():
        typer.echo("This is the only time that it is shown: only a hash of it is kept.", err=True)


def _columns(row: KeyRow) -> tuple[str, ...]:
    until = moment(row.revoked_at or row.expires_at)
    return (
        row.label,
        row.tenant,
        row.name,
        row.mode,
        ",".join(row.scopes),
        limit_text(row.limit),
        moment(row.used_at),
        f"revoked {until}" if row.revoked_at else until,
    )


def _lifetime(text: str) -> timedelta:
    lifetime = duration(text)
    if not lifetime:
        raise typer.BadParameter("expected some time, got none", param_hint="--expires")
    return lifetime


def _scopes(text: str) -> tuple[Scope, ...]:
    given = [each.strip() for each in text.split(",") if each.strip()]
    wrong = [each for each in given if each not in SCOPES]
    if wrong or not given:
        got = ", ".join(wrong) or "none"
        raise typer.BadParameter(
            f"expected some of {', '.join(SCOPES)}, got {got}", param_hint="--scopes"
        )
    return tuple(scope for scope in SCOPES if scope in given)


def _mode(text: str) -> Mode:
    for mode in MODES:
        if mode == text:
            return mode
    raise typer.BadParameter(f"expected {' or '.join(MODES)}, got {text!r}", param_hint="--mode")
