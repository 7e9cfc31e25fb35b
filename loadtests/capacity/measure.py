"""The runs that a model needs: steps for one worker and for more, and some that tell costs apart.

``single_…`` and ``batch_…`` go up in steps to the knee and past it, everything in memory (cached)
or next to nothing (uncached). Past the knee there are more connections, which stay open for the
stage below it that follows. ``stream``, ``refused`` and ``idle`` are for costs alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from loadtests import result
from loadtests.capacity.observed import HELD
from loadtests.result import Result
from loadtests.scenario import Scenario, Stage, Steps, Traffic

# Runs a scenario against a service of so many workers.
Runner = Callable[[Scenario, int], Result]

# A void run is made again so many times in all.
TRIES = 2
_MATCHES: Mapping[str, int] = {"match": 1}
# Memory for under 1 % of what is asked about, uniformly.
_COLD: Mapping[str, str] = {"VERIFIER_CACHE_ENTRIES": "1000"}
# Steps up to the first that is not held, and between the two until the knee is known to 5 %. Then
# past it, and below it.
_FACTOR, _PRECISION, _BEYOND = 1.4, 0.05, (1.5, 0.5)
# So few that a second has enough of them for a p99.
BATCH = 50
# Different questions: they are all in memory after the warm-up.
_FEW, _MANY = 2_000, 150_000


class Planned(NamedTuple):
    """One run: ``label`` is its folder's name."""

    label: str
    scenario: Scenario
    workers: int


def planned(
    workers: Sequence[int], repeats: int, seconds: int, cores_each: float = 1.0
) -> list[Planned]:
    """All runs with stages of so many seconds, in turns, so that a slow hour harms all alike.

    Workers have a core each, or so much of one.
    """
    runs: list[Planned] = []
    for again in range(1, repeats + 1):
        for number in workers:
            scenarios = stepped(number * cores_each, seconds)
            if number == workers[0]:
                scenarios += flat(seconds, cores_each)
            for scenario in scenarios:
                label = f"{scenario.name}-{number}w-{again}"
                runs.append(Planned(label, scenario, number))
    return runs


def stepped(cores: float, seconds: int) -> list[Scenario]:
    """The four kinds whose throughput is told by the number of workers, who have so many cores."""
    # What takes longer than this is past the knee, where p99 has no steady value.
    single = Traffic("single", "single", 1, within=0.05)
    batch = Traffic("batch", "batch", 1, items=BATCH, within=0.5)
    return [
        Scenario(
            name=f"{traffic.name}_{'cached' if cached else 'uncached'}",
            summary=f"{traffic.name} questions in steps up to the knee, "
            + ("all of them in memory" if cached else "hardly any in memory"),
            traffic=[traffic],
            steps=Steps(
                first=first * cores,
                factor=_FACTOR,
                precision=_PRECISION,
                seconds=seconds,
                goodput=HELD,
                most=30,
                beyond=_BEYOND,
            ),
            mix=_MATCHES,
            zipf=Decimal(0),
            distinct=_FEW if cached else _MANY,
            settings={} if cached else _COLD,
        )
        for traffic, first in ((single, 6_000.0), (batch, 400.0))
        for cached in (True, False)
    ]


def flat(seconds: int, cores: float = 1.0) -> list[Scenario]:
    """For costs: streams, requests that are refused, and next to none."""

    def rates(*of_a_core: float) -> list[float]:
        return [cores * rate for rate in of_a_core]

    return [
        Scenario(
            name="stream",
            summary="streams of 500 lines",
            traffic=[Traffic("stream", "stream", 1, items=500, within=5.0)],
            stages=[_warm_up(10 * cores), *_stages(seconds, rates(20, 40, 80))],
            mix=_MATCHES,
        ),
        Scenario(
            name="refused",
            summary="single questions that find no place to wait in, beside some that do",
            traffic=[Traffic("single", "single", 1, within=0.25)],
            stages=[_warm_up(200 * cores), *_stages(seconds, rates(1_000, 2_000, 4_000))],
            mix=_MATCHES,
            zipf=Decimal(0),
            distinct=_MANY,
            settings={
                **_COLD,
                "VERIFIER_READ_CONNECTIONS": "1",
                "VERIFIER_WAITING_SINGLES": "1",
                "VERIFIER_WAITING_BULK": "1",
                "VERIFIER_MAX_BATCH": "1",
            },
        ),
        Scenario(
            name="idle",
            summary="a question now and then",
            traffic=[Traffic("single", "single", 1, within=0.25)],
            stages=[_warm_up(20), *_stages(2 * seconds, (1.0, 20.0))],
            mix=_MATCHES,
        ),
    ]


def measure(
    runs: Sequence[Planned], runner: Runner, folder: Path
) -> Iterator[tuple[Planned, str | None]]:
    """Make the runs that are not in the folder yet; yields each, and why it is void, or None."""
    for each in runs:
        place = folder / each.label
        if (place / result.FILE).exists():
            yield each, result.read(place).void
            continue
        found = runner(each.scenario, each.workers)
        for _ in range(TRIES - 1):
            if found.void:
                found = runner(each.scenario, each.workers)
        result.write(found, place)
        yield each, found.void


def read_all(folder: Path) -> list[tuple[str, Result]]:
    """The runs in the folders within a folder, by their names."""
    files = sorted(folder.glob(f"*/{result.FILE}"))
    return [(file.parent.name, result.read(file)) for file in files]


def _warm_up(rate: float) -> Stage:
    """Uses each connection of a generator, before VERIFIER_HEADER_TIMEOUT closes it."""
    return Stage("warm-up", 5, rate, warm_up=True)


def _stages(seconds: int, rates: Sequence[float]) -> list[Stage]:
    return [Stage(f"{rate:,}/s", seconds, rate) for rate in rates]
