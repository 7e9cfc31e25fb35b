"""``python -m loadtests capacity measure | fit | plan``: the options, and what is printed."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer

from loadtests.capacity import fit as fitting
from loadtests.capacity import measure as measuring
from loadtests.capacity import model as models
from loadtests.capacity import plan as plans
from loadtests.capacity import plots, validate
from loadtests.capacity.estimates import DRAWS
from loadtests.capacity.fit import NotEnough
from loadtests.capacity.model import BadModel
from loadtests.capacity.plan import Wanted
from loadtests.capacity.sizing import TooMuch
from loadtests.capacity.spending import NoPlan
from loadtests.capacity.told import told
from loadtests.result import NoResult, Result
from loadtests.runs import Options, run
from loadtests.scenario import Scenario
from loadtests.target import own
from loadtests.terminal import Cores, part_of, plainly
from verifier.config import Config

FOLDER = Path("loadtests-results") / "capacity"
_MODEL = FOLDER / models.FILE

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")
_WORKERS = re.compile(r"(?:(\d+)\.\.)?(\d+)")
_SAID = (BadModel, NoPlan, NoResult, NotEnough, TooMuch)

app = typer.Typer(
    no_args_is_help=True,
    help="How much so many workers carry, what it costs, and how many are needed.",
)

Folder = Annotated[
    Path, typer.Option("--folder", metavar="DIR", help="With a folder for each run.")
]


@app.command()
def measure(
    workers: Annotated[
        str, typer.Option(metavar="1..N", help="Numbers of workers to measure, or one of them.")
    ] = "1..2",
    repeats: Annotated[
        int, typer.Option(min=1, help="How often; half of the runs can judge the others from 2 on.")
    ] = 2,
    seconds: Annotated[int, typer.Option(min=2, help="Of each step.")] = 8,
    rows: Annotated[
        int, typer.Option(min=1_000, help="Invoices in the synthetic ledger.")
    ] = 200_000,
    generators: Annotated[int, typer.Option(min=1, max=64, help="Processes that send.")] = 1,
    cores: Cores = 1.0,
    folder: Folder = FOLDER,
) -> None:
    """Make the runs that a model needs; those that are in the folder already are not made again."""
    numbers = _workers(workers)
    part = part_of(cores, numbers[-1])
    runs = measuring.planned(numbers, repeats, seconds, cores)

    def runner(scenario: Scenario, number: int) -> Result:
        with own(rows, number, scenario.settings, cores_each=part) as target:
            return run(scenario, target, Options(generators=generators))

    with plainly():
        for at, (each, void) in enumerate(measuring.measure(runs, runner, folder), 1):
            said = f"void: {void}" if void else "done"
            print(f"{at}/{len(runs)} {each.label}: {said}", flush=True)


@app.command()
def fit(
    folder: Folder = FOLDER,
    replicas: Annotated[
        int, typer.Option(min=0, help="That the measured service had beside its primary.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    draws: Annotated[int, typer.Option(min=10, help="Of the bootstrap.")] = DRAWS,
    check: Annotated[
        bool, typer.Option(help="Fit half of the runs as well, and predict the others.")
    ] = True,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", show_default="that of the runs", help="Folder.")
    ] = None,
) -> None:
    """Fit the model to runs: capacity.json, its plots, and a table of what it predicts."""
    place = output or folder
    try:
        runs, left_out = fitting.usable(measuring.read_all(folder))
        model = fitting.fit(runs, left_out, replicas=replicas, seed=seed, draws=draws)
        table = validate.markdown(validate.validate(runs, seed=seed)) if check else None
    except _SAID as error:
        _end(error)
    models.write(model, place / models.FILE)
    (place / "throughput.svg").write_text(plots.throughput(model))
    (place / "latency.svg").write_text(plots.latency(model))
    if table is not None:
        (place / "validation.md").write_text(table)
        print(table)
    for label, reason in left_out.items():
        print(f"left out: {label}: {reason}")
    for note in model.notes:
        print(f"not known: {note}")
    print(f"model: {place / models.FILE}")


@app.command()
def plan(
    rate: Annotated[float, typer.Option(min=1e-9, help="Questions a second at the peak.")],
    hit: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of questions that memory answers.")
    ],
    p99: Annotated[str, typer.Option(metavar="DURATION", help="Of singles, like 50ms or 2s.")],
    bulk_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of questions that come in batches.")
    ] = 0.0,
    zones: Annotated[int, typer.Option(min=1, help="One of which may be gone, from 2 on.")] = 3,
    most: Annotated[
        float,
        typer.Option(min=0.01, max=1.0, help="Utilisation never passed, whatever p99 allows."),
    ] = 0.7,
    workers_per_pod: Annotated[int, typer.Option(min=1, help="A core each.")] = 1,
    clusters: Annotated[int, typer.Option(min=1, help="That the ledger is divided among.")] = 1,
    server_cores: Annotated[int, typer.Option(min=1, help="Of a replica.")] = 4,
    cache_entries: Annotated[
        int | None,
        typer.Option(min=2, show_default="VERIFIER_CACHE_ENTRIES", help="Invoices in memory."),
    ] = None,
    model: Annotated[
        Path, typer.Option(metavar="FILE", help="What capacity fit has written.")
    ] = _MODEL,
    pod: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a pod there, for simulate --model."),
    ] = None,
) -> None:
    """Print pods, CPU, memory, replicas and connections for a load, with bands and assumptions."""
    config = Config.from_env(os.environ)
    wanted = Wanted(
        rate=rate,
        bulk_share=bulk_share,
        hit=hit,
        p99=_seconds(p99),
        zones=zones,
        most=most,
        workers_a_pod=workers_per_pod,
        clusters=clusters,
        server_cores=server_cores,
        cache_entries=cache_entries or config.memory.cache_entries,
    )
    try:
        fitted = models.read(model)
        print(told(plans.plan(fitted, wanted, config), fitted, config), end="")
        if pod is not None:
            pod.write_bytes(msgspec.json.encode(plans.pod(fitted, wanted)) + b"\n")
    except _SAID as error:
        _end(error)


def _seconds(text: str) -> float:
    found = _DURATION.fullmatch(text)
    if found is None or float(found[1]) <= 0:
        raise typer.BadParameter(
            f"expected a duration above 0 like 50ms or 2s, got {text!r}", param_hint="--p99"
        )
    return float(found[1]) * (1e-3 if found[2] == "ms" else 1.0)


def _workers(text: str) -> range:
    found = _WORKERS.fullmatch(text)
    first, last = (int(found[1] or found[2]), int(found[2])) if found else (0, 0)
    if not 1 <= first <= last:
        raise typer.BadParameter(
            f"expected a number of at least 1, or two like 1..4, got {text!r}",
            param_hint="--workers",
        )
    return range(first, last + 1)


def _end(error: Exception) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    raise typer.Exit(2) from None
