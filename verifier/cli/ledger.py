"""``verifier ledger``: made-up ledgers and questions about them, as NDJSON."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import datetime
from decimal import Decimal, InvalidOperation
from itertools import islice
from pathlib import Path
from typing import Annotated, BinaryIO, TypeVar

import msgspec
import typer

from verifier.cli.progress import LineProgress
from verifier.invoice.verdict import SHANGHAI
from verifier.synthetic.ledger import EARLIEST, LATEST, MAX_ROWS, Ledger
from verifier.synthetic.questions import DEFAULT_MIX, DEFAULT_ZIPF, Questions

app = typer.Typer(no_args_is_help=True, help="Make and load ledgers of invoices.")

T = TypeVar("T")

STDOUT = Path("-")
# Lines are written and counted together: few calls, and a bar that still moves.
_TOGETHER = 1000
_MIX = ",".join(f"{verdict}={parts}" for verdict, parts in DEFAULT_MIX.items())

Rows = Annotated[int, typer.Option(min=0, max=MAX_ROWS, help="How many invoices the ledger has.")]
Seed = Annotated[int, typer.Option(help="Another seed makes another ledger.")]
Until = Annotated[
    datetime | None,
    typer.Option(
        formats=["%Y-%m-%d"],
        show_default="today in Shanghai",
        help=f"The day on which the ledger is taken, {EARLIEST} to {LATEST}: its dates are the "
        "five years before. Without it, the output changes from day to day.",
    ),
]
Output = Annotated[
    Path, typer.Option("--output", "-o", show_default="standard output", help="File to write.")
]


@app.command()
def generate(rows: Rows, seed: Seed = 1, until: Until = None, output: Output = STDOUT) -> None:
    """Write a synthetic ledger, one invoice a line, as `verifier ledger import` reads it.

    All 18 kinds and 36 regions, about 90 % 数电, voided and red-flushed
    invoices with their red letters, and companies that do not exist.
    The same arguments give the same bytes.
    """
    ledger = _ledger(rows, seed, until)
    with _written(output, "generating", ledger.rows) as (target, advance):
        for lines in _together(ledger.lines()):
            target.write(b"".join(lines))
            advance(len(lines))


@app.command()
def questions(
    rows: Rows,
    seed: Seed = 1,
    until: Until = None,
    count: Annotated[int, typer.Option(min=0, help="How many questions.")] = 10_000,
    question_seed: Annotated[int, typer.Option(help="Other questions about the same ledger.")] = 0,
    mix: Annotated[
        str, typer.Option(help="Parts by expected verdict; one that is left out has none.")
    ] = _MIX,
    zipf: Annotated[
        str,
        typer.Option(
            help="How much more the popular invoices are asked about: the one of rank k in "
            "proportion to k to the power of minus this, from 0 (all alike) to 3."
        ),
    ] = str(DEFAULT_ZIPF),
    output: Output = STDOUT,
    expect: Annotated[
        Path | None,
        typer.Option(help="Another file, for each question with the answer that it must get."),
    ] = None,
) -> None:
    """Write questions about the ledger that `generate` makes of the same rows, seed and until.

    By default 90 % are answered with match, 5 % mismatch, 3 % not_found,
    1 % pending and 1 % invalid, when asked on the day `until` and while
    no region has set a watermark. Half of them are minimal, 20 % give all
    fields, 15 % are QR codes, 10 % name the kind, 5 % are untidy.
    """
    if expect == output:
        raise typer.BadParameter("expected another file than --output", param_hint="--expect")
    ledger = _ledger(rows, seed, until)
    try:
        asked = Questions(ledger, count, question_seed, _parts(mix), _exponent(zipf))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    encode = msgspec.json.Encoder().encode_lines
    with ExitStack() as stack:
        target, advance = stack.enter_context(_written(output, "asking", count))
        cases = stack.enter_context(_opened(expect)) if expect else None
        for some in _together(asked):
            target.write(encode([case.request for case in some]))
            if cases:
                cases.write(encode(some))
            advance(len(some))


def _ledger(rows: int, seed: int, until: datetime | None) -> Ledger:
    day = until.date() if until else datetime.now(SHANGHAI).date()
    try:
        return Ledger(rows, seed, day)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _parts(text: str) -> dict[str, int]:
    """``match=90,mismatch=10`` as a mapping; ValueError says what is wrong."""
    parts: dict[str, int] = {}
    for item in filter(None, text.replace(" ", "").split(",")):
        verdict, equals, number = item.partition("=")
        if not equals or not number.isascii() or not number.isdigit() or verdict in parts:
            raise ValueError(f"mix: expected each verdict once, like {_MIX}, got {item!r}")
        parts[verdict] = int(number)
    return parts


def _exponent(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"zipf: expected a number from 0 to 3, got {text!r}") from None


def _together(items: Iterable[T]) -> Iterator[list[T]]:
    source = iter(items)
    while some := list(islice(source, _TOGETHER)):
        yield some


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """Open a file to write; it appears under its name only when it is complete."""
    if file == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif file.exists() and not file.is_file():  # a pipe or a device
        with file.open("wb") as target:
            yield target
    else:
        file = file.resolve()
        partial = file.with_name(f"{file.name}.partial")
        try:
            with partial.open("wb") as target:
                yield target
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def _written(file: Path, verb: str, count: int) -> Iterator[tuple[BinaryIO, Callable[[int], None]]]:
    """The output and what to tell about progress; a reader that goes away ends the command."""
    shown = file == STDOUT and sys.stdout.isatty()
    progress = None if shown else LineProgress(verb, count)
    try:
        with progress or nullcontext(), _opened(file) as target:
            yield target, lambda lines: progress.advance(lines, lines) if progress else None
    except BrokenPipeError:
        # What is left in the buffer would be complained about at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(128 + signal.SIGPIPE) from None
    except OSError as error:
        raise typer.BadParameter(f"{error.filename or file}: {error.strerror}") from error
