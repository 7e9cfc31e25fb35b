"""How a command ends: its report and exit code, or one line that says what did not work."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from loadtests import curves, report
from loadtests.changing import NotFed
from loadtests.crowd import GeneratorFailed
from loadtests.generator.arrivals import BadTimestamps
from loadtests.processes import RigError
from loadtests.result import NoResult, Result
from loadtests.revisions import NoRevision
from loadtests.scenario import NoScenario
from loadtests.slowing import LEAST
from loadtests.target import BadTarget
from verifier.cli.credentials import BadKey
from verifier.errors import ClusterError

RESULTS = Path("loadtests-results")

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", show_default="loadtests-results/…", help="Folder to write."),
]

# What a worker of a service that is brought up has of a core.
Cores = Annotated[
    float,
    typer.Option(
        min=LEAST,
        max=1.0,
        help="A worker's part of a core, so that a machine can send more than several of them "
        "carry. What burns the rest takes root.",
    ),
]

# Statuses of who is not known, and of who may not.
_DENIED = frozenset({"401", "403"})

# What is said in one line, without a traceback.
_SAID = (
    BadKey,
    BadTarget,
    BadTimestamps,
    ClusterError,
    GeneratorFailed,
    NoResult,
    NoRevision,
    NoScenario,
    NotFed,
    RigError,
    curves.BadCurve,
)


def pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    """Texts of the form NAME=VALUE, by their names."""
    found = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"expected NAME=VALUE, got {text!r}", param_hint=option)
        found[name.strip()] = value
    return found


def leave(found: Result, output: Path | None) -> None:
    """Write all of a run, say where, and exit as it went."""
    moment = found.began[:19].replace(":", "")
    folder = output or RESULTS / f"{moment}-{found.scenario}"
    report.write(found, folder)
    print(report.headline(found))
    print(f"report: {folder / 'report.html'}")
    if found.total.wrong:
        for text in found.wrong:
            print(f"wrong: {text}", file=sys.stderr)
        if 2 * found.total.wrong > found.total.right:
            print(
                "hint: do --rows, --ledger-seed and --until say what the ledger was made of?",
                file=sys.stderr,
            )
        raise typer.Exit(1)
    if not found.total.right:
        print("error: no question was answered", file=sys.stderr)
        if found.total.failures.keys() & _DENIED:
            print("hint: the service wants a key that may ask: --key FILE", file=sys.stderr)
        raise typer.Exit(2)
    if found.void:
        raise typer.Exit(2)


def part_of(cores: float, workers: int) -> float | None:
    """The part of a core that each of so many workers has; None for a whole one."""
    if cores == 1:
        return None
    if workers * cores > 1:
        raise typer.BadParameter(
            f"expected at most one core for {workers} workers together, got {cores:g} each",
            param_hint="--cores",
        )
    return cores


def warn(text: str) -> None:
    """Say what does not keep a command from its work."""
    print(f"warning: {text}", file=sys.stderr, flush=True)


def _ended(*_: object) -> NoReturn:
    """Clean up what was started, as at any other end."""
    sys.exit(128 + signal.SIGTERM)


def check_output(output: Path | None) -> None:
    """Raise BadParameter when the folder to write is a file."""
    if output is not None and output.exists() and not output.is_dir():
        raise typer.BadParameter(f"{output} is no folder", param_hint="--output")


@contextmanager
def plainly() -> Iterator[None]:
    """Say what did not work in one line. A ValueError names an argument."""
    signal.signal(signal.SIGTERM, _ended)
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted; no report", file=sys.stderr)
        raise typer.Exit(130) from None
    except _SAID as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
