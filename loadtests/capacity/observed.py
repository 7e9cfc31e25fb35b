"""What a run says about capacity: each of its stages as rates, CPU and latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import msgspec

from loadtests.histogram import Histogram
from loadtests.result import Cell, Result, Service, StageRun, Window
from loadtests.scenario import WRITES

# What a question is called in costs.py, by the endpoint that it was put to.
TERM_OF: Mapping[str, str] = {
    "single": "single",
    "changed": "single",
    "batch": "item",
    "stream": "line",
}
# Who is answered later than this is answered by CPU of another stage.
_PROMPT = 1.0
# The share of questions that a stage answers well which has a steady state.
HELD = 0.95
# A second has a p99 of its own from so many answers on.
_FOR_P99 = 100


class Unfit(Exception):
    """A run says nothing about capacity; the message says why."""


class Sample(msgspec.Struct, frozen=True):
    """One stage. Rates are a second; ``done`` are answers by term, ``requests`` all that came.

    ``searched`` are stages of the search for the knee, which begin with few connections; others may
    come behind an overload, and have those that it has opened.

    ``misses`` are keys that were read from databases: not those of refused questions. CPU is in
    cores, None where nobody counted it; ``p99`` (seconds) is that of the run's class.
    """

    stage: str
    searched: bool
    offered: float
    goodput: float
    p99: float
    prompt: bool
    done: Mapping[str, float]
    requests: float
    refused: float
    misses: float | None
    connections: float | None
    workers_cpu: float | None
    databases_cpu: float | None
    hit: float | None

    @property
    def held(self) -> bool:
        """Whether the stage had a steady state: nearly all was answered well, and soon."""
        return self.searched and self.prompt and self.goodput >= HELD * self.offered


class Observed(msgspec.Struct, frozen=True):
    """A run. Its ``kind`` is its scenario; ``endpoint`` and ``items`` are those of most questions.

    ``cores_each`` is what a worker had of a core.

    ``stepped`` runs went up to the knee, so that their highest goodput is what the service can do.
    """

    label: str
    kind: str
    workers: int
    cores_each: float
    began: str
    commit: str
    endpoint: str
    items: int
    stepped: bool
    environment: Mapping[str, Any]
    resident_bytes: int
    samples: tuple[Sample, ...]

    @property
    def best(self) -> Sample:
        """The stage with the highest goodput."""
        return max(self.samples, key=lambda sample: sample.goodput)

    @property
    def room(self) -> float:
        """The cores that its workers had together."""
        return self.workers * self.cores_each

    @property
    def throughput(self) -> float:
        """The highest goodput, in questions a second."""
        return self.best.goodput


def observed(label: str, result: Result) -> Observed:
    """What a run says. Unfit when it is void, or of a service that we know too little of."""
    workers = result.configuration.get("workers")
    if result.void:
        raise Unfit(f"void: {result.void}")
    if not isinstance(workers, int):
        raise Unfit("workers: expected their number in its configuration; run it without --host")
    if any(info.endpoint in WRITES for info in result.classes.values()):
        raise Unfit("it writes to the ledger, whose cost is not a part of the model")
    if result.total.wrong:
        raise Unfit(f"{result.total.wrong} of its answers were wrong")
    stages = [stage for stage in result.stages if not stage.warm_up]
    if not stages:
        raise Unfit("stages: expected one at least that is not a warm-up")
    main = _main(result)
    return Observed(
        label=label,
        kind=result.scenario,
        workers=workers,
        cores_each=result.configuration.get("cores_each") or 1.0,
        began=result.began,
        commit=result.commit,
        endpoint=result.classes[main].endpoint,
        items=result.classes[main].items,
        stepped=any(stage.held is not None for stage in stages),
        environment=result.environment,
        resident_bytes=max(
            (each.service.resident_bytes or 0 for each in result.windows if each.service), default=0
        ),
        samples=tuple(_sample(result, stage, main) for stage in stages),
    )


def _main(result: Result) -> str:
    """The class that asked most questions."""
    asked = dict.fromkeys(result.classes, 0)
    for window in result.windows:
        for name, cell in window.cells.items():
            asked[name] += cell.questions
    return max(asked, key=lambda name: asked[name])


def _sample(result: Result, stage: StageRun, main: str) -> Sample:
    seconds = stage.end - stage.begin
    cells = result.merged(stage.begin, stage.end)
    windows = [each for each in result.windows if stage.begin <= each.second < stage.end]
    services = [each.service for each in windows if each.service is not None]
    done: dict[str, float] = {}
    for name, cell in cells.items():
        term = TERM_OF[result.classes[name].endpoint]
        done[term] = done.get(term, 0.0) + _answered(cell) / seconds
    hits, misses = _sum(services, "cache_hits"), _sum(services, "cache_misses")
    read = _sum(services, "query_keys")
    late = Histogram.of(cell.latency for cell in cells.values())
    return Sample(
        stage=stage.name,
        searched=stage.held is not None,
        offered=sum(cell.questions for cell in cells.values()) / seconds,
        goodput=sum(cell.good for cell in cells.values()) / seconds,
        p99=_p99(windows, main),
        prompt=late.share_within(_PROMPT) >= HELD,
        done=done,
        requests=sum(cell.offered - cell.unreachable for cell in cells.values()) / seconds,
        refused=sum(cell.refused for cell in cells.values()) / seconds,
        # A scrape that was missed is made up for by the next one.
        misses=None if read is None else read / seconds,
        connections=_mean(each.connections for each in services),
        workers_cpu=_mean(each.cpu.get("workers") for each in services),
        databases_cpu=_mean(each.cpu.get("databases") for each in services),
        hit=hits / (hits + misses) if hits is not None and misses and hits + misses else None,
    )


def _p99(windows: Sequence[Window], main: str) -> float:
    """The p99 of the median second; of the whole stage, where seconds have few answers.

    One second in which the machine stood still is not how the service behaves at this load, but
    has all of a stage's slowest one per cent.
    """
    seconds = [each.cells[main].latency for each in windows if main in each.cells]
    if not seconds or min(map(len, seconds)) < _FOR_P99:
        return Histogram.of(seconds).percentile(0.99)
    return median(each.percentile(0.99) for each in seconds)


def _answered(cell: Cell) -> int:
    return cell.questions - cell.refused_questions - cell.lost


def _sum(services: Sequence[Service], name: str) -> float | None:
    known = [value for each in services if (value := getattr(each, name)) is not None]
    # With half of the scrapes missed, nobody knows what the sum is of.
    return sum(known) if 2 * len(known) >= len(services) > 0 else None


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
