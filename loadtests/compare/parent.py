"""``python -m loadtests parent``: short runs of a revision and of this tree in turns, compared."""

from __future__ import annotations

import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from loadtests import result, scenario
from loadtests.compare.command import compare
from loadtests.environment import revision as commit_of
from loadtests.revisions import export
from loadtests.runs import Options, run
from loadtests.target import own
from loadtests.terminal import RESULTS, Output, check_output, plainly


def parent(
    revision: Annotated[str, typer.Argument(help="What this tree is compared with.")] = "HEAD~1",
    name: Annotated[
        str, typer.Option("--scenario", help="One of `loadtests list` that has stages.")
    ] = "peak_hour",
    seconds: Annotated[int, typer.Option(min=30, help="Of each run.")] = 30,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of either, in turns.")] = 2,
    rows: Annotated[int, typer.Option(min=1_000, help="Invoices in the ledger.")] = 50_000,
    section: Annotated[str, typer.Option(help="Section of budget.toml.")] = "parent",
    output: Output = None,
) -> None:
    """Compare this tree's service with that of a revision, by short runs in turns.

    Questions, load and databases are this tree's. Exits as compare does, and with 2 when there is
    no such revision.
    """
    check_output(output)
    folder = output or RESULTS / f"{datetime.now().astimezone():%Y-%m-%dT%H%M%S}-parent"
    runs: list[Path] = []
    with plainly(), tempfile.TemporaryDirectory(prefix="loadtests-parent-") as place:
        load = scenario.load(name)
        if not load.stages or load.hooks:
            raise typer.BadParameter(f"{name} does not run in turns", param_hint="--scenario")
        load = scenario.squeezed(load, seconds)
        old = export(revision, ["verifier"], Path(place) / "old")
        new = export("", ["verifier"], Path(place) / "new")
        for turn in range(1, rounds + 1):
            for side, tree, commit in (
                ("A", old, commit_of(revision)),
                ("B", new, commit_of()),
            ):
                print(f"{side}{turn}: {commit or 'this tree'}", file=sys.stderr, flush=True)
                with own(rows, 1, load.settings, tree=tree) as target:
                    found = run(load, target, Options(seed=turn))
                found = msgspec.structs.replace(found, commit=commit)
                runs.append(folder / f"{side}{turn}")
                result.write(found, runs[-1])
    compare(runs, section)
    print(f"runs: {folder} (python -m loadtests report FOLDER draws one)")
