"""``verifier check``: asks a running service about each line of a file."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, BinaryIO

import aiohttp
import msgspec
import typer
from rich.console import Console
from rich.table import Table

from verifier.cli.asking import ATTEMPTS, Answer, Asker, Denied, GaveUp
from verifier.cli.credentials import KeyFile, take_key
from verifier.cli.lines import STDIN, chunks, created, opened
from verifier.cli.progress import LineProgress

_encode = msgspec.json.Encoder().encode

# In the order of the summary: first what was checked, then what was not.
_CHECKED = ("match", "mismatch", "not_found", "pending")
_UNCHECKED = ("invalid", "unavailable", "unanswered")


def check(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Questions as NDJSON, one a line; - is standard input.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="OUT",
            help="Where to write the answers as NDJSON, in the order of the questions; "
            "- is standard output.",
            dir_okay=False,
        ),
    ] = None,
    url: Annotated[
        str, typer.Option(metavar="URL", help="Where the service is.")
    ] = "http://127.0.0.1:8080",
    key: KeyFile = None,
    attempts: Annotated[
        int,
        typer.Option(
            min=1, help="How often in a row to try in vain before giving up what is left."
        ),
    ] = ATTEMPTS,
) -> None:
    """Ask a running service about each line of FILE.

    Shows progress and a summary by verdict. What was cut off or could not be checked is asked
    again, and a limit that is full is waited for. The exit code is 0 only when every line was
    checked: 1 when the service could not check some of them, or some are no valid questions, and
    2 when it does not accept the key.
    """
    bearer = take_key(key, os.environ, lambda text: typer.echo(f"verifier: {text}", err=True))
    with ExitStack() as stack:
        source, size = stack.enter_context(opened(file))
        sink: BinaryIO | None = None
        if out == STDIN:
            sink = sys.stdout.buffer
        elif out is not None:
            sink = stack.enter_context(created(out))
        progress = stack.enter_context(LineProgress("checking", size))
        counts: Counter[str] = Counter()
        waits: list[float] = []
        why, code = "", 1
        try:
            asker = partial(Asker, url=url, key=bearer, attempts=attempts, limited=waits.append)
            why, rest = asyncio.run(_ask(source, sink, asker, counts, progress))
            # What is left of a pipe may be endless.
            if rest and size is not None:
                counts["unanswered"] += sum(len(chunk.lines) for chunk in chunks(source))
        except GaveUp as error:
            why = str(error)
        except Denied as error:
            why, code = str(error), 2
    _summary(counts, waits, Console(stderr=out == STDIN))
    left = [f"{counts[name]:,} {name}" for name in _UNCHECKED if counts[name]]
    if why or left:
        unasked = "the rest was not asked" if counts else "none was asked"
        text = f"not all lines were checked: {', '.join(left) or unasked}"
        typer.echo(f"verifier: {text}" + (f"; {why}" if why else ""), err=True)
        raise typer.Exit(code)


async def _ask(
    source: BinaryIO,
    sink: BinaryIO | None,
    asker_for: Callable[[aiohttp.ClientSession], Asker],
    counts: Counter[str],
    progress: LineProgress,
) -> tuple[str, bool]:
    """Ask everything; why some questions stayed unchecked, and whether the rest was not asked."""
    async with aiohttp.ClientSession() as session:
        asker = asker_for(session)
        for chunk in chunks(source):
            answers = await asker.answers(chunk, partial(progress.advance, 1, chunk.share))
            given = _until_gap(answers)
            if sink:
                sink.write(b"".join(_encode(answer) + b"\n" for answer in given))
            counts.update(answer["verdict"] for answer in given)
            if len(given) < len(answers):
                counts["unanswered"] += len(answers) - len(given)
                line = chunk.numbers[len(given)]
                return f"asked in vain from line {line} on: {asker.why}", True
    return asker.why if counts["unavailable"] else "", False


def _until_gap(answers: list[Answer | None]) -> list[Answer]:
    given: list[Answer] = []
    for answer in answers:
        if answer is None:
            break
        given.append(answer)
    return given


def _summary(counts: Counter[str], waits: Sequence[float], console: Console) -> None:
    table = Table(box=None, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name in (*_CHECKED, *_UNCHECKED):
        if counts[name]:
            table.add_row(name, f"{counts[name]:,}")
    table.add_row("lines", f"{counts.total():,}")
    if waits:
        table.add_row("rate_limited", f"{len(waits):,} times, {sum(waits):,.0f} s")
    console.print(table)
