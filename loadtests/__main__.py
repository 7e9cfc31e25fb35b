"""``python -m loadtests``: run a scenario, compare two runs, plan capacity, simulate scaling."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loadtests import report, result, scenario
from loadtests.autoscaler.cli import simulate
from loadtests.capacity.cli import app as capacity
from loadtests.compare.command import compare
from loadtests.compare.parent import parent
from loadtests.merging import merged
from loadtests.run_command import run
from loadtests.terminal import Output, leave, pairs, plainly

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Load tests: what the whole service carries, and how much of it is needed.",
)
app.command()(run)
app.command()(compare)
app.command()(parent)
app.command()(simulate)
app.add_typer(capacity, name="capacity")


@app.command("list")
def list_() -> None:
    """Name every scenario, and say what it is."""
    for name in scenario.names():
        print(f"{name:18} {scenario.load(name).summary}")


@app.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(exists=True, help="Results of one run.")],
    output: Output = None,
) -> None:
    """Merge what several machines have seen of one run (--part K/N), without loss."""
    with plainly():
        leave(merged([result.read(folder) for folder in folders]), output)


@app.command("report")
def report_(
    folder: Annotated[Path, typer.Argument(exists=True, help="With a result.json.")],
) -> None:
    """Write a run's report anew."""
    with plainly():
        found = result.read(folder)
        for file in report.write(found, folder if folder.is_dir() else folder.parent):
            print(file)


@app.command()
def goodput(
    runs: Annotated[
        list[str], typer.Argument(metavar="LABEL=FOLDER", help="Runs of steps, and their names.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.svg")],
) -> None:
    """Draw what several services answered right and in time, by what was offered."""
    with plainly():
        found = {name: result.read(Path(at)) for name, at in pairs(runs, "LABEL=FOLDER").items()}
        output.write_text(report.goodputs(found), "utf-8")
        print(output)


if __name__ == "__main__":
    app()
