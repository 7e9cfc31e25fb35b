"""``verifier audit``: what administrators did, and whether the log of it is as it was written."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC
from functools import partial
from typing import Annotated

import asyncpg
import msgspec
import typer
from rich.cells import cell_len

from verifier.access import audit
from verifier.access.audit import EMPTY, Entry, Fault, Head, Report
from verifier.access.keys import peppers_of
from verifier.cli.settings import with_primary
from verifier.config import Databases
from verifier.database.connections import open_reader, or_terminated
from verifier.database.hosts import find, single_hosts
from verifier.database.timelines import Timelines
from verifier.database.transactions import translated
from verifier.errors import Unavailable, VerifierError

app = typer.Typer(no_args_is_help=True, help="Look at what administrators did.")

# Entries that one call lists: so many fit in memory, whatever their size.
_MOST = 10_000

_HEAD = re.compile(r"(\d{1,18}):([0-9a-f]{64})", re.ASCII)

_encode = msgspec.json.Encoder().encode


@app.command()
def verify(
    head: Annotated[
        str,
        typer.Option(
            metavar="COUNT:HEX",
            help="A head that this command has shown before: its entry must still be there.",
        ),
    ] = "",
) -> None:
    """Check that no entry was altered, removed, inserted or moved.

    The entries are linked by a secret made of VERIFIER_KEY_PEPPERS; give all that were ever in
    use. That the last entries are gone shows only by --head, so keep the head that is shown where
    the database's administrators cannot reach it. The exit code is 0 only when all is as it was
    written, 1 when it is not, 2 when that could not be said.
    """
    kept = _kept(head)
    config = with_primary()
    report = asyncio.run(
        _verified(
            config.databases, audit.audit_secrets(peppers_of(config.access.key_peppers)), kept
        )
    )
    print(f"intact  {report.head.seq:,}")
    print(f"head    {report.head.seq}:{report.head.mac.hex()}")
    if report.fault is not None:
        typer.echo(f"verifier: {_said(report.fault)}", err=True)
        raise typer.Exit(1)


@app.command("list")
def list_entries(
    after: Annotated[
        int, typer.Option(min=0, max=(1 << 63) - 1, metavar="SEQ", help="Only what comes after it.")
    ] = 0,
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="How many entries.")] = 100,
    as_json: Annotated[
        bool, typer.Option("--json", help="An object a line, with the MAC of each entry.")
    ] = False,
) -> None:
    """Show entries in their order: number, time, who, what, to what, from where, and more.

    They are shown as they are in the database; `verify` says whether that is as they were written.
    """
    found = asyncio.run(_listed(with_primary().databases, after, limit))
    for line in map(_object, found) if as_json else _aligned(map(_columns, found)):
        print(line)


async def _verified(databases: Databases, secrets: Sequence[bytes], kept: Head) -> Report:
    async with _primary(databases) as connection:
        return await audit.verify(connection, secrets, kept)


async def _listed(databases: Databases, after: int, limit: int) -> list[Entry]:
    async with _primary(databases) as connection:
        return await audit.entries(connection, after, limit)


@asynccontextmanager
async def _primary(databases: Databases) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the primary that can only read. VerifierError when there is no such thing."""
    hosts = single_hosts(databases.primary_dsn)
    connect = partial(open_reader, config=databases)
    try:
        with translated():
            contact = await find(hosts, "primary", connect, databases.connect_timeout, Timelines())
        with or_terminated(contact.connection):
            if contact.in_recovery:
                # Where the last entries may be missing that a head speaks of.
                raise Unavailable("read_only")
            yield contact.connection
            await contact.connection.close()
    except Unavailable as error:
        raise VerifierError(f"the audit log cannot be read from the primary: {error}") from error


def _kept(text: str) -> Head:
    if not text:
        return EMPTY
    found = _HEAD.fullmatch(text)
    if found is None:
        raise typer.BadParameter(
            "expected a number, a colon and 64 hexadecimal digits", param_hint="--head"
        )
    return Head(int(found[1]), bytes.fromhex(found[2]))


def _said(fault: Fault) -> str:
    seq, last = fault.seq, fault.last
    which = f"entry {seq:,}" if seq == last else f"entries {seq:,} to {last:,}"
    match fault.reason:
        case "missing":
            return f"{which}: missing"
        case "inserted":
            return f"{which}: inserted between entries that followed one another"
        case "reordered":
            return f"entry {seq:,}: out of order; what belongs there is entry {last:,}"
        case "altered":
            return f"{which}: altered, or what was before it is missing and the rest renumbered"
        case "unsigned":
            return f"{which}: under none of VERIFIER_KEY_PEPPERS; altered, or under another pepper"
        case "replaced":
            return f"{which}: not the one of --head, though all follow one another"


def _object(entry: Entry) -> str:
    fields = msgspec.structs.asdict(entry)
    shown = {"detail": msgspec.Raw(entry.detail.encode()), "mac": entry.mac.hex()}
    return _encode(fields | shown).decode()


def _columns(entry: Entry) -> list[str]:
    return [
        str(entry.seq),
        f"{entry.at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        *map(_plain, (entry.actor, entry.action, entry.subject, entry.address or "-")),
        _plain(entry.detail),
    ]


def _plain(text: str) -> str:
    """Text that cannot pass for other lines, or make a terminal do anything."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def _aligned(rows: Iterable[list[str]]) -> Iterable[str]:
    """A line a row, with columns as wide as what is in them."""
    table = list(rows)
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    for row in table:
        padded = (
            text + " " * (width - cell_len(text)) for text, width in zip(row, widths, strict=True)
        )
        yield "  ".join(padded).rstrip()
