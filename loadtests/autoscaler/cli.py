"""``python -m loadtests simulate``: the options, and what is printed."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from loadtests.autoscaler import behavior as behaviors
from loadtests.autoscaler import load as loads
from loadtests.autoscaler import report
from loadtests.autoscaler.behavior import BadBehavior, Behavior
from loadtests.autoscaler.hpa import Bounds
from loadtests.autoscaler.load import BadLoad
from loadtests.autoscaler.pods import BadModel, PodModel, read_model
from loadtests.autoscaler.report import Simulated
from loadtests.autoscaler.signals import (
    CRON,
    METRICS,
    BadSchedule,
    Pipeline,
    Schedule,
    planned,
    read_schedule,
)
from loadtests.autoscaler.simulate import Setup
from loadtests.autoscaler.simulate import simulate as replay
from loadtests.curves import BadCurve
from loadtests.result import NoResult

FOLDER = Path("loadtests-results") / "simulation"

_SIGNALS = "served,offered,cpu,cron,cron+offered"
_LOADS = ("deadline", loads.STEP)
_RANGE = re.compile(r"(\d+)-(\d+)")
_SAID = (BadBehavior, BadCurve, BadLoad, BadModel, BadSchedule, NoResult)


def simulate(
    load: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LOAD",
            show_default=" and ".join(_LOADS),
            help=f"What is offered: {', '.join(loads.names())}, a CSV file of "
            "seconds,requests_per_second, or the folder of a run; repeatable.",
        ),
    ] = None,
    signals: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="What the autoscaler looks at: served, offered, cpu, cron, or several joined by "
            "a plus, of which the one that asks for most pods wins.",
        ),
    ] = _SIGNALS,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What a pod carries and costs, as JSON: any of "
            f"{', '.join(PodModel.__struct_fields__)}.",
        ),
    ] = None,
    pod_capacity: Annotated[
        float | None,
        typer.Option(
            show_default="of --model, or 8,000",
            help="Requests a second that a pod answers within the latency budget.",
        ),
    ] = None,
    pod_start: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            show_default="of --model, or 40",
            help="From asking for a pod until it takes requests.",
        ),
    ] = None,
    least: Annotated[int, typer.Option("--min", help="Fewest pods.")] = 3,
    most: Annotated[int, typer.Option("--max", help="Most pods.")] = 60,
    target: Annotated[
        float, typer.Option(help="The share of a pod's capacity that metrics aim at.")
    ] = 0.7,
    behavior: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default="that of Kubernetes",
            help="The behavior of an autoscaler's manifest, as JSON.",
        ),
    ] = None,
    cron: Annotated[
        str | None,
        typer.Option(
            metavar="HH:MM=PODS,…",
            show_default="what an ordinary day needs",
            help="The schedule of the signal cron.",
        ),
    ] = None,
    peak: Annotated[
        float | None,
        typer.Option(
            min=1.0,
            show_default=f"{loads.PEAK:,.0f}, or as recorded",
            help="Requests a second at the peak of an ordinary day, after the step, or in the "
            "highest second of a recording.",
        ),
    ] = None,
    stretch: Annotated[
        float, typer.Option(min=0.01, help="Make a recording so many times as long.")
    ] = 1.0,
    metric_window: Annotated[
        int, typer.Option(metavar="SECONDS", help="Over which served and offered are averaged.")
    ] = 60,
    metric_delay: Annotated[
        int, typer.Option(metavar="SECONDS", help="From a scrape until the autoscaler reads it.")
    ] = 15,
    outage: Annotated[
        list[str] | None,
        typer.Option(metavar="FROM-TO", help="Seconds in which no metric can be had; repeatable."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = FOLDER,
) -> None:
    """Replay a day, or a step of 20 times, against the algorithm of the HorizontalPodAutoscaler.

    Shows for each signal how long it takes until the pods carry what is offered, what share of
    requests is refused until then, and how many pod-hours it costs.
    """
    try:
        pod = read_model(model) if model else PodModel()
        changes = {"capacity": pod_capacity, "start_seconds": pod_start}
        given = {name: value for name, value in changes.items() if value is not None}
        setup = Setup(
            model=msgspec.structs.replace(pod, **given),
            bounds=Bounds(least, most),
            behavior=behaviors.read(behavior) if behavior else Behavior(),
            target=target,
            pipeline=Pipeline(window=metric_window, delay=metric_delay),
            outages=tuple(_outage(text) for text in outage or ()),
        )
        every = _replayed(
            load or _LOADS,
            (peak, stretch),
            _chosen(signals),
            setup,
            read_schedule(cron) if cron else None,
        )
    except _SAID as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    report.write(every, output)
    for each in every:
        print(report.headline(each))
        print(report.table(each))
    print(f"report: {output / 'simulation.md'}")


def _replayed(
    names: Sequence[str],
    scale: tuple[float | None, float],
    chosen: Sequence[str],
    setup: Setup,
    schedule: Schedule | None,
) -> list[Simulated]:
    every: list[Simulated] = []
    for name in names:
        load = loads.find(name, *scale)
        if any(each.load.name == load.name for each in every):
            raise BadLoad(f"--load: expected each name once, got {load.name} twice")
        cron = schedule or planned(load, setup.model, setup.target, setup.bounds)
        kept = [signal for signal in chosen if cron is not None or CRON not in signal.split("+")]
        if kept != chosen:
            print(f"{load.name}: nobody planned for it: no cron without --cron", file=sys.stderr)
        if not kept:
            raise BadSchedule(f"--cron: expected with --load {name} and no other signal")
        runs = {signal: replay(load, signal.split("+"), setup, cron) for signal in kept}
        every.append(Simulated(load, setup, runs, cron))
    return every


def _chosen(text: str) -> list[str]:
    found = [signal.strip() for signal in text.split(",")]
    for signal in found:
        parts = signal.split("+")
        if not set(parts) <= {*METRICS, CRON} or len(set(parts)) < len(parts):
            raise typer.BadParameter(
                f"expected {', '.join((*METRICS, CRON))}, or several joined by a plus, "
                f"got {signal!r}",
                param_hint="--signals",
            )
    return list(dict.fromkeys(found))


def _outage(text: str) -> tuple[int, int]:
    given = _RANGE.fullmatch(text)
    if given is None or int(given[1]) >= int(given[2]):
        raise typer.BadParameter(
            f"expected seconds like 36000-37200, got {text!r}", param_hint="--outage"
        )
    return int(given[1]), int(given[2])
