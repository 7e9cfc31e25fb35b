"""``verifier ledger import``: loads a ledger, and says of each rejected line what is wrong."""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
import typer

from verifier.cli import signals
from verifier.cli.lines import blocks, created, opened
from verifier.cli.loading import Loading, Totals
from verifier.cli.progress import LineProgress
from verifier.cli.settings import with_primary
from verifier.config import Config
from verifier.ledger.ingest.chunks import Rejection
from verifier.ledger.ingest.writer import Writer

# Rejected lines that are shown; the others are counted, and are in --rejects.
_SHOWN = 20

_encode = msgspec.json.Encoder().encode


def import_ledger(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Invoices as NDJSON, one a line; - is standard input.",
        ),
    ],
    rejects: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            help="Where to write all rejected lines, as NDJSON: line number and errors.",
        ),
    ] = None,
) -> None:
    """Load FILE into the ledger (VERIFIER_PRIMARY_DSN), by COPY.

    An invoice that is there already is brought up to date. Lines go in by transactions of some
    tens of thousands; after an interruption, import the same file again: what is in counts as
    unchanged. The exit code is 0 only when no line was rejected.
    """
    config = with_primary()
    with ExitStack() as stack:
        source, size = stack.enter_context(opened(file))
        sink = stack.enter_context(created(rejects)) if rejects else None
        progress = stack.enter_context(LineProgress("importing", size))
        rejected = _Rejected(progress, sink)
        totals = asyncio.run(_import(config, source, progress, rejected))
    rejected.close(rejects)
    _summary(totals)
    if totals.rejected:
        raise typer.Exit(1)


async def _import(
    config: Config, source: BinaryIO, progress: LineProgress, rejected: _Rejected
) -> Totals:
    writer = Writer(config.databases, config.ingest, config.requests.max_line)
    loading = Loading(
        writer, config.requests.max_line, taken=progress.advance, rejected=rejected.add
    )
    with signals.catching() as stop:
        try:
            await stop.unless(loading.load(blocks(source)))
        except signals.Stopped:
            progress.say(f"stopped; {loading.totals.lines:,} lines are in")
            raise
        finally:
            await writer.close()
    return loading.totals


class _Rejected:
    """Shows the first rejected lines, and writes all of them to a file."""

    def __init__(self, progress: LineProgress, sink: BinaryIO | None) -> None:
        self._progress = progress
        self._sink = sink
        self._count = 0

    def add(self, rejection: Rejection) -> None:
        """One more."""
        self._count += 1
        if self._count <= _SHOWN:
            for error in rejection.errors:
                where = f"line {rejection.line}" + (f", {error.field}" if error.field else "")
                wanted = f", expected {error.expected}" if error.expected else ""
                self._progress.say(f"{where}: {error.code}{wanted}")
            if rejection.more_errors:
                self._progress.say(f"line {rejection.line}: {rejection.more_errors:,} more errors")
        if self._sink:
            self._sink.write(_encode(rejection) + b"\n")

    def close(self, file: Path | None) -> None:
        """Say where the others are."""
        more = self._count - _SHOWN
        if more > 0:
            where = f"all are in {file}" if file else "--rejects FILE writes all of them"
            sys.stderr.write(f"… and {more:,} more rejected lines; {where}\n")


def _summary(totals: Totals) -> None:
    for name in ("accepted", "unchanged", "rejected"):
        print(f"{name:<10}{getattr(totals, name):>12,}")
