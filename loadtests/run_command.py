"""``python -m loadtests run``: its options, and what they make of a scenario and a target."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from loadtests import curves, scenario
from loadtests.generator.arrivals import replay
from loadtests.questions import Book
from loadtests.requests import bearing
from loadtests.runs import Options
from loadtests.runs import run as run_it
from loadtests.scenario import Arrivals, Scenario
from loadtests.suspecting import suspected_wrongly
from loadtests.target import Target, own, there, today
from loadtests.terminal import Cores, Output, check_output, leave, pairs, part_of, plainly, warn
from verifier.cli.credentials import KeyFile, take_key
from verifier.synthetic.questions import DEFAULT_MIX


def run(
    name: Annotated[str, typer.Argument(metavar="SCENARIO", help="One of `loadtests list`.")],
    host: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A service that is there already, like http://10.0.0.7:8080. Without it, one is "
            "brought up on this machine, with databases and a synthetic ledger.",
        ),
    ] = None,
    key: KeyFile = None,
    rows: Annotated[
        int, typer.Option(min=1_000, help="Invoices in the synthetic ledger.")
    ] = 200_000,
    ledger_seed: Annotated[int, typer.Option(help="With --host: the seed of its ledger.")] = 1,
    until: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            show_default="today",
            help="With --host: the day on which its ledger was made.",
        ),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.001, help="Times the scenario's rates.")] = 1.0,
    duration: Annotated[
        int | None,
        typer.Option(
            min=5, metavar="SECONDS", show_default="the scenario's", help="For all stages together."
        ),
    ] = None,
    curve: Annotated[
        str | None,
        typer.Option(
            metavar="DAY",
            help=f"A day's curve in place of the stages: {', '.join(curves.names())}, or a CSV "
            "file of time,share. The day takes --duration, or two minutes.",
        ),
    ] = None,
    arrivals: Annotated[
        Arrivals | None,
        typer.Option(show_default="the scenario's", help="Independent callers, or a metronome."),
    ] = None,
    timestamps: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="Replay requests at these moments: a number of seconds a line.",
        ),
    ] = None,
    speed: Annotated[float, typer.Option(min=0.01, help="How fast --timestamps go by.")] = 1.0,
    mix: Annotated[
        str | None,
        typer.Option(
            metavar="PARTS",
            show_default="the scenario's",
            help="Expected verdicts in parts, like match=90,not_found=10.",
        ),
    ] = None,
    zipf: Annotated[
        str | None,
        typer.Option(show_default="the scenario's", help="Exponent of popularity, 0 to 3."),
    ] = None,
    beyond: Annotated[
        list[float] | None,
        typer.Option(
            min=0.01,
            max=100.0,
            show_default="the scenario's",
            help="After steps to the knee a stage at so many times its rate; repeatable.",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Of the service that is brought up.")
    ] = 1,
    cores: Cores = 1.0,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="A setting of the service that is brought up; repeatable."
        ),
    ] = None,
    generators: Annotated[
        int, typer.Option(min=1, max=64, help="Processes that send the load together.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Another seed asks others.")] = 0,
    hook: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=COMMAND",
            help="What the scenario's hook does, e.g. failover=./promote.sh; repeatable.",
        ),
    ] = None,
    part: Annotated[
        str,
        typer.Option(
            metavar="K/N",
            help="This machine's share of a load that N machines send; see --start-at and merge.",
        ),
    ] = "1/1",
    start_at: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%dT%H:%M:%S%z"],
            metavar="MOMENT",
            help="When all machines begin, like 2026-11-29T10:00:00+08:00.",
        ),
    ] = None,
    balancer: Annotated[
        bool, typer.Option("--balancer", help="Ask through HAProxy, as docs/overload.md has it.")
    ] = False,
    output: Output = None,
) -> None:
    """Run a scenario, and leave a report: result.json, report.md, report.html and plots.

    Exits with 1 when an answer was wrong, whatever the speed, and with 2 when
    the run is void: the generator could not keep up, or the run did not work.
    """
    with plainly():
        check_output(output)
        load = _load(name, duration, curve, arrivals, mix, zipf, beyond)
        commands = pairs(hook, "--hook")
        _known(commands, {each.name for each in load.hooks}, "--hook", f"hooks of {name}")
        if host is not None and load.hooks and not commands:
            raise typer.BadParameter(
                f"{name} needs what it is to do there: --hook {load.hooks[0].name}=COMMAND"
            )
        bearer = take_key(key, os.environ, warn)
        if key is not None and host is None:
            raise typer.BadParameter("expected --host with it", param_hint="--key")
        if start_at is not None and start_at < datetime.now(UTC):
            raise typer.BadParameter("expected a moment to come", param_hint="--start-at")
        mine, parts = _part(part)
        if parts > 1 and start_at is None:
            raise typer.BadParameter("expected --start-at with it", param_hint="--part")
        options = Options(
            rate=rate,
            generators=generators,
            seed=seed,
            # What is brought up here asks for none, and is shown none.
            headers=bearing(bearer if host else None),
            part=mine,
            parts=parts,
            start_at=start_at.timestamp() if start_at else None,
            commands=commands,
            timestamps=replay(timestamps, speed) if timestamps else None,
        )
        book = Book(rows, ledger_seed, until.date() if until else today())
        part_of_core = part_of(cores, workers)
        settings = pairs(setting, "--setting")
        with _target(load, host, book, workers, part_of_core, settings, balancer) as target:
            print(f"{load.name}: {load.summary}; http://{target.host}", file=sys.stderr, flush=True)
            found = run_it(load, target, options)
        leave(found, output)
        if wrong := suspected_wrongly(load, found):
            print(f"error: {wrong}", file=sys.stderr)
            raise typer.Exit(1)


def _load(
    name: str,
    duration: int | None,
    curve: str | None,
    arrivals: Arrivals | None,
    mix: str | None,
    zipf: str | None,
    beyond: Sequence[float] | None,
) -> Scenario:
    """A scenario with what the command line changes of it."""
    load = scenario.load(name)
    changes: dict[str, object] = {}
    given = {"--duration": duration, "--curve": curve}
    if load.steps is not None and any(value is not None for value in given.values()):
        raise typer.BadParameter(
            f"{name} finds its rates and its length by itself",
            param_hint=", ".join(option for option, value in given.items() if value is not None),
        )
    if curve is not None:
        peak = max(stage.rate for stage in load.stages)
        changes["stages"] = curves.stages(curves.find(curve), duration or 120, peak)
    elif duration is not None:
        load = scenario.squeezed(load, duration)
    if arrivals is not None:
        changes["arrivals"] = arrivals
    if mix is not None:
        changes["mix"] = parts = _parts(mix)
        _known(parts, DEFAULT_MIX, "--mix", "verdicts")
    if zipf is not None:
        try:
            changes["zipf"] = exponent = Decimal(zipf)
            is_one = 0 <= exponent <= 3
        except InvalidOperation:
            is_one = False
        if not is_one:
            raise typer.BadParameter(
                f"expected a number from 0 to 3, got {zipf!r}", param_hint="--zipf"
            )
    if beyond:
        if load.steps is None:
            raise typer.BadParameter(f"{name} has no steps", param_hint="--beyond")
        changes["steps"] = msgspec.structs.replace(load.steps, beyond=beyond)
    return msgspec.structs.replace(load, **changes)


def _known(given: Iterable[str], names: Collection[str], option: str, what: str) -> None:
    for name in given:
        if name not in names:
            expected = ", ".join(sorted(names)) or "none"
            raise typer.BadParameter(f"{name}: expected {what}: {expected}", param_hint=option)


def _parts(text: str) -> dict[str, int]:
    parts = {}
    for verdict, count in pairs(text.split(","), "--mix").items():
        if not count.isascii() or not count.isdigit():
            raise typer.BadParameter(
                f"{verdict}: expected a whole number, got {count!r}", param_hint="--mix"
            )
        parts[verdict] = int(count)
    return parts


def _part(text: str) -> tuple[int, int]:
    """``2/3`` as the index 1 of 3."""
    mine, slash, all_of_them = text.partition("/")
    if not slash or not mine.isdecimal() or not all_of_them.isdecimal():
        raise typer.BadParameter(f"expected K/N like 1/3, got {text!r}", param_hint="--part")
    if not 1 <= int(mine) <= int(all_of_them):
        raise typer.BadParameter(f"expected K from 1 to N, got {text!r}", param_hint="--part")
    return int(mine) - 1, int(all_of_them)


@contextmanager
def _target(
    load: Scenario,
    host: str | None,
    book: Book,
    workers: int,
    cores_each: float | None,
    settings: Mapping[str, str],
    balancer: bool,
) -> Iterator[Target]:
    if host is not None:
        given = {
            "--setting": settings,
            "--cores": cores_each,
            "--workers": workers != 1,
            "--balancer": balancer,
        }
        if wrong := [option for option, value in given.items() if value]:
            raise typer.BadParameter(
                "these are of a service that is brought up, not with --host",
                param_hint=", ".join(wrong),
            )
        yield there(host, book)
        return
    turned = bool(load.hooks)
    with own(
        book.rows,
        workers,
        {**load.settings, **settings},
        replicas=2 if turned else 1,
        turned=turned,
        cores_each=cores_each,
        balancer=balancer,
        keyed=True,
    ) as target:
        yield target
