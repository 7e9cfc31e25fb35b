"""Believable results, as runs leave them, for tests of what reads them; the same for each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator

from loadtests.histogram import Histogram, bucket_of
from loadtests.result import (
    Cell,
    ClassInfo,
    Event,
    Result,
    Service,
    StageRun,
    Window,
    summaries,
)

# Requests a second of the steps of ``step_run``, and which of them its service holds.
STEPS = (6_000, 9_000, 12_000, 15_000, 18_000, 21_000, 24_000)
KNEE = 21_000
CAPACITY = 22_500.0

_ENVIRONMENT: Mapping[str, Any] = {
    "machine": "Example CPU @ 2.10GHz",
    "cores": 2,
    "kernel": "6.1.0",
    "python": "3.11.2",
    "aiohttp": "3.14.5",
}
# Seconds of CPU a question.
_WORKERS, _DATABASES = 40e-6, 15e-6
# How much the latencies of one second differ from those of another, and of one run from another.
_UNREST, _DRIFT = 0.05, 0.02


class Part(NamedTuple):
    """A stage: requests a second by class; whether it is a warm-up, and was held."""

    name: str
    seconds: int
    rates: Mapping[str, float]
    warm_up: bool = False
    held: bool | None = None


class Made(NamedTuple):
    """A service of so many questions a second, ``slow`` and ``hungry`` times what it needs."""

    capacity: float = CAPACITY
    slow: float = 1.0
    hungry: float = 1.0
    # The share of questions that it refuses though it is not full.
    refusing: float = 0.0


def durations(seconds: np.ndarray[Any, np.dtype[np.float64]]) -> Histogram:
    """What ``Histogram.record`` makes of all of them, quickly."""
    values, counts = np.unique((seconds * 1e6).astype(np.int64), return_counts=True)
    whole = Histogram(
        total=int((values * counts).sum()), longest=int(values.max()) if len(values) else 0
    )
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        bucket = bucket_of(value)
        whole.counts[bucket] = whole.counts.get(bucket, 0) + count
    return whole


def step_run(
    *,
    seed: int = 0,
    budget: Mapping[str, float] | None = None,
    service: Made | None = None,
    seconds: int = 8,
    scale: float = 1.0,
) -> Result:
    """Steps of single questions; past KNEE the service refuses what it cannot do.

    At most 18,000/s have a p99 within 20 ms. ``scale`` times all rates and the capacity make a
    smaller run of the same shape.
    """
    service = service or Made()
    service = service._replace(capacity=service.capacity * scale)
    parts = [Part("warm-up", 5, {"single": STEPS[0] * scale}, warm_up=True)]
    for rate in STEPS:
        held = rate * scale < service.capacity
        parts.append(Part(f"{rate * scale:,.0f}/s", seconds, {"single": rate * scale}, held=held))
    parts += [
        Part(f"{factor:g} × the knee", seconds, {"single": KNEE * scale * factor})
        for factor in (1.5, 3.0)
    ]
    return _run(
        "step",
        "single questions in steps up to the knee",
        {"single": ClassInfo("single", 1, 0.1)},
        parts,
        service,
        np.random.default_rng(seed),
        {"single": 0.02} if budget is None else budget,
        pause=1,
    )


def peak_hour(
    *,
    seed: int = 0,
    budget: Mapping[str, float] | None = None,
    service: Made | None = None,
    seconds: int = 20,
) -> Result:
    """Single questions and two kinds of batches: before, at and after the peak, after a warm-up."""
    rates = {"single": 630.0, "batch_small": 63.0, "batch_large": 7.0}
    peak = {name: 2 * rate for name, rate in rates.items()}
    parts = [
        Part("warm-up", seconds // 2, rates, warm_up=True),
        Part("before", seconds, rates),
        Part("peak", seconds, peak),
        Part("after", seconds, rates),
    ]
    return _run(
        "peak_hour",
        "single questions, small batches and a few large ones, as at the peak hour",
        {
            "single": ClassInfo("single", 1, 0.25),
            "batch_small": ClassInfo("batch", 20, 0.5),
            "batch_large": ClassInfo("batch", 500, 2.0),
        },
        parts,
        service or Made(),
        np.random.default_rng(seed),
        {"single": 0.05, "batch_small": 0.1} if budget is None else budget,
    )


def with_events(result: Result) -> Result:
    """The same run with a fault, restarts and a feed in it, some at the same time."""
    end = result.stages[-1].end
    result.events = [
        Event("feed", end * 0.2, end * 0.7, "ledger is fed"),
        Event("fault", end * 0.45, end * 0.52, "primary is gone"),
        Event("restart", end * 0.5, end * 0.5, "worker 1 restarts"),
        Event("restart", end * 0.95, end * 0.99, "worker 2 restarts"),
    ]
    return result


def void(result: Result) -> Result:
    """The same run by a generator that was late."""
    result.void = "stage peak: the generator was over 10 ms late with 3.0% of its requests"
    return result


def wrong(result: Result, count: int = 3, said: Sequence[str] | None = None) -> Result:
    """The same run with some answers of its last second wrong."""
    name, cell = next(iter(result.windows[-1].cells.items()))
    cell.right -= count
    cell.good -= count
    cell.wrong += count
    stage = result.stages[-1]
    stage.summary = summaries(result.merged(stage.begin, stage.end), stage.end - stage.begin)
    result.wrong = list(said or [f"{name}: expected match, got <mismatch> | of `24312000000`"])
    return result


def failing(result: Result, cut: int = 2, hung: int = 1) -> Result:
    """The same run with some requests of its last second that got no answer."""
    cell = next(iter(result.windows[-1].cells.values()))
    lost = cut + hung
    cell.answered -= lost
    cell.cut += cut
    cell.hung += hung
    cell.right -= lost
    cell.good -= lost
    cell.lost += lost
    return result


def dead(result: Result) -> Result:
    """The same load on a service that is not there: no connection, no answer, no numbers."""
    for window in result.windows:
        window.service = None
        for name, cell in window.cells.items():
            window.cells[name] = Cell(
                offered=cell.offered,
                unreachable=cell.offered,
                questions=cell.questions,
                lost=cell.questions,
            )
    for stage in result.stages:
        cells = result.merged(stage.begin, stage.end)
        stage.summary = summaries(cells, stage.end - stage.begin)
        stage.service = {}
    return result


def _run(
    name: str,
    summary: str,
    classes: Mapping[str, ClassInfo],
    parts: Sequence[Part],
    service: Made,
    random: Generator,
    budget: Mapping[str, float],
    *,
    pause: int = 0,
) -> Result:
    windows: list[Window] = []
    stages: list[StageRun] = []
    drift = exp(random.normal(0, _DRIFT))
    unrest = 0.0
    second = 0
    for part in parts:
        begin = second
        for _ in range(part.seconds):
            # What makes a second slow is not over with it.
            unrest = 0.5 * unrest + random.normal(0, _UNREST * sqrt(0.75))
            pace = drift * exp(unrest)
            windows.append(_window(second, part, classes, service, pace, random))
            second += 1
        stages.append(_stage(part, begin, second, windows))
        second += pause
    return Result(
        scenario=name,
        summary=summary,
        began="2026-11-15T09:00:00+08:00",
        commit="0123abc",
        environment=dict(_ENVIRONMENT),
        configuration={
            "target": "http://127.0.0.1:8080",
            "workers": 1,
            "rows": 2_000_000,
            "rate": 1.0,
            "arrivals": "poisson",
            "mix": {"match": 90, "mismatch": 10},
            "zipf": "1.1",
            "p99": dict(budget),
        },
        classes=dict(classes),
        stages=stages,
        windows=windows,
    )


def _window(
    second: int,
    part: Part,
    classes: Mapping[str, ClassInfo],
    service: Made,
    pace: float,
    random: Generator,
) -> Window:
    window = Window(second, generator_cpu=0.3)
    demand = sum(rate * classes[name].items for name, rate in part.rates.items())
    load = demand / service.capacity
    for name, rate in part.rates.items():
        info = classes[name]
        window.cells[name] = _cell(int(random.poisson(rate)), info, load, service, pace, random)
    window.lateness = durations(random.exponential(0.0002, sum(c.offered for c in _cells(window))))
    answered = sum(cell.right for cell in _cells(window))
    hits = answered * (0.4 + 0.3 * second / (second + 20))
    window.service = Service(
        cpu={
            "workers": answered * _WORKERS * service.hungry * exp(random.normal(0, 0.02)),
            "databases": answered * _DATABASES * exp(random.normal(0, 0.02)),
        },
        resident_bytes=180_000_000 + 100_000 * second,
        cache_hits=hits,
        cache_misses=answered - hits,
        queries=(answered - hits) / 12,
        query_keys=answered - hits,
        waiting_keys=5.0 * load,
        replica_lag_seconds=0.02,
        loop_lag_p99=0.001 / max(0.05, 1 - load),
    )
    return window


def _cell(
    offered: int, info: ClassInfo, load: float, service: Made, pace: float, random: Generator
) -> Cell:
    full = load >= 1
    admitted = min(1.0, 0.97 / load) * (1 - service.refusing)
    answered = int(random.binomial(offered, admitted))
    median = (0.03 if full else 0.0013 / (1 - load)) * (1 + info.items / 50) * service.slow * pace
    seconds = random.lognormal(np.log(median), 0.4, answered)
    right = answered * info.items
    refused = (offered - answered) * info.items
    return Cell(
        offered=offered,
        answered=answered,
        refused=offered - answered,
        questions=offered * info.items,
        right=right,
        good=int((seconds <= info.within).sum()) * info.items,
        refused_questions=refused,
        verdicts={"match": right - right // 10, "mismatch": right // 10} if right else {},
        latency=durations(seconds),
        refusal=durations(random.exponential(0.0005, offered - answered)),
    )


def _cells(window: Window) -> list[Cell]:
    return list(window.cells.values())


def _stage(part: Part, begin: int, end: int, windows: Sequence[Window]) -> StageRun:
    cells: dict[str, Cell] = {}
    for window in windows:
        if begin <= window.second < end:
            for name, cell in window.cells.items():
                cells.setdefault(name, Cell()).merge(cell)
    rate = sum(part.rates.values())
    return StageRun(
        part.name,
        begin,
        end,
        rate,
        rate,
        part.warm_up,
        part.held,
        summaries(cells, end - begin),
        {"cpu_workers": 0.4, "cpu_databases": 0.2, "cache_hit_ratio": 0.61, "keys_a_query": 12.0},
    )
