"""Runs of a service whose every cost is known, as capacity measure would have left them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from loadtests.capacity.costs import Costs
from loadtests.capacity.estimates import Estimate
from loadtests.capacity.latency import Shape
from loadtests.capacity.observed import TERM_OF, Observed, observed
from loadtests.capacity.usl import Parameters
from loadtests.histogram import Histogram, bucket_of
from loadtests.result import Cell, ClassInfo, Result, Service, StageRun, Window

# Of the highest rate that is held.
STEPS = (0.2, 0.4, 0.6, 0.8, 0.9, 0.97, 1.0)
SECONDS = 6


class Truth(NamedTuple):
    """One kind of load: what it is, the share of hits, and the laws that it obeys."""

    endpoint: str
    items: int
    hit: float
    law: Parameters
    shape: Shape


KINDS: Mapping[str, Truth] = MappingProxyType(
    {
        "single_cached": Truth(
            "single", 1, 0.98, Parameters(4_000, 0.05, 0.01), Shape(0.004, 0.002, 1.1)
        ),
        "single_uncached": Truth(
            "single", 1, 0.03, Parameters(3_000, 0.08, 0.015), Shape(0.006, 0.004, 1.1)
        ),
        "batch_cached": Truth(
            "batch", 1_000, 0.99, Parameters(150_000, 0.05, 0.01), Shape(0.02, 0.02, 1.15)
        ),
        "batch_uncached": Truth(
            "batch", 1_000, 0.02, Parameters(60_000, 0.1, 0.02), Shape(0.05, 0.03, 1.15)
        ),
    }
)

# Seconds of CPU.
WORKERS: Mapping[str, float] = MappingProxyType(
    {
        "single": 120e-6,
        "item": 3e-6,
        "line": 4e-6,
        "poll": 0.02,
        "single_miss": 50e-6,
        "bulk_miss": 8e-6,
        "refused": 60e-6,
        "wake": 100e-6,
        "connection": 20e-6,
    }
)
DATABASES: Mapping[str, float] = MappingProxyType(
    {"single_miss": 40e-6, "bulk_miss": 7e-6, "poll": 0.01}
)


def costs() -> Costs:
    """The true costs, without a doubt."""
    return Costs(
        {name: Estimate(cost, cost, cost) for name, cost in WORKERS.items()},
        {name: Estimate(cost, cost, cost) for name, cost in DATABASES.items()},
        {},
        {},
    )


def step_run(kind: str, workers: int, *, seed: int = 0, noise: float = 0.02) -> Result:
    """Steps to the knee, and one past it that is not held; ``noise`` is relative, and normal."""
    truth = KINDS[kind]
    random = np.random.default_rng((seed, workers, *kind.encode()))
    # Runs differ from each other more than the stages of one.
    most = truth.law.at(workers) * exp(random.normal(0, noise))
    made = _Made(workers, random, noise)
    for share in STEPS:
        rate = share * most / truth.items
        # Connections have little to do with the load: a service that was overloaded has many.
        connections = int(random.integers(20, 2_000))
        made.stage(truth, rate, truth.shape.at(share), connections, held=True)
    # So late that clearly fewer than HELD of the answers come within a second.
    made.stage(truth, 1.3 * most / truth.items, 6.0, 2_000, held=False)
    return made.result(kind, truth, seed)


def refused_run(*, seed: int = 0, noise: float = 0.02) -> Result:
    """Single questions of which a part is refused."""
    truth = KINDS["single_uncached"]
    made = _Made(1, np.random.default_rng((seed, 1)), noise)
    for rate, refused in ((1_000, 0.2), (2_000, 0.5), (3_000, 0.7)):
        made.stage(truth, rate, 0.01, 50, refused=refused)
    return made.result("refused", truth, seed)


def idle_run(*, seed: int = 0, noise: float = 0.02) -> Result:
    """A question now and then."""
    truth = KINDS["single_cached"]
    made = _Made(1, np.random.default_rng((seed, 2)), noise)
    for rate in (1, 20):
        made.stage(truth, rate, 0.01, 30)
    return made.result("idle", truth, seed)


def stream_run(*, seed: int = 0, noise: float = 0.02) -> Result:
    """Streams of known invoices."""
    truth = KINDS["batch_cached"]._replace(endpoint="stream", items=2_000)
    made = _Made(1, np.random.default_rng((seed, 3)), noise)
    for rate in (5, 20, 50):
        made.stage(truth, rate, 0.2, 40)
    return made.result("stream", truth, seed)


def results(
    workers: Sequence[int] = (1, 2, 3, 4), repeats: int = 2, *, seed: int = 0, noise: float = 0.02
) -> list[tuple[str, Result]]:
    """All runs that capacity measure makes, by their labels."""
    every: list[tuple[str, Result]] = []
    for again in range(repeats):
        at = 100 * seed + again
        for number in workers:
            for kind in KINDS:
                label = f"{kind}-{number}w-{again + 1}"
                every.append((label, step_run(kind, number, seed=at, noise=noise)))
        for name, make in (("refused", refused_run), ("idle", idle_run), ("stream", stream_run)):
            every.append((f"{name}-1w-{again + 1}", make(seed=at, noise=noise)))
    return every


def runs(
    workers: Sequence[int] = (1, 2, 3, 4), repeats: int = 2, *, seed: int = 0, noise: float = 0.02
) -> list[Observed]:
    """The same, as they are observed."""
    made = results(workers, repeats, seed=seed, noise=noise)
    return [observed(label, result) for label, result in made]


class _Made:
    """A run that is being made, stage by stage."""

    def __init__(self, workers: int, random: Generator, noise: float) -> None:
        self._workers = workers
        self._random = random
        self._noise = noise
        self._stages: list[StageRun] = []
        self._windows: list[Window] = []

    def stage(
        self,
        truth: Truth,
        rate: float,
        p99: float,
        connections: int,
        *,
        held: bool | None = None,
        refused: float = 0.0,
    ) -> None:
        """One stage of so many requests a second."""
        begin = len(self._windows)
        offered = max(1, round(rate))
        turned_away = round(offered * refused)
        answered = offered - turned_away
        p99 *= exp(self._random.normal(0, 2 * self._noise))
        for second in range(begin, begin + SECONDS):
            questions = answered * truth.items
            columns = {
                TERM_OF[truth.endpoint]: questions,
                "single_miss" if truth.endpoint == "single" else "bulk_miss": (1 - truth.hit)
                * questions,
                "poll": self._workers,
                "connection": connections,
                "refused": turned_away,
                "wake": offered,
            }
            self._windows.append(
                Window(
                    second,
                    {"asked": _cell(truth, answered, turned_away, p99, late=held is False)},
                    self._service(columns, truth, questions, connections),
                )
            )
        name = f"{rate:,.0f}/s"
        self._stages.append(StageRun(name, begin, begin + SECONDS, rate, rate, held=held))

    def _service(
        self, columns: Mapping[str, float], truth: Truth, questions: int, connections: int
    ) -> Service:
        cores = costs().cores(columns, self._workers)
        asked = sum(columns.get(name, 0) * cost for name, cost in DATABASES.items())
        return Service(
            cpu={"workers": cores * self._error(), "databases": asked * self._error()},
            resident_bytes=90_000_000 * self._workers,
            cache_hits=truth.hit * questions,
            cache_misses=(1 - truth.hit) * questions,
            query_keys=(1 - truth.hit) * questions,
            connections=connections,
        )

    def _error(self) -> float:
        return exp(self._random.normal(0, self._noise))

    def result(self, kind: str, truth: Truth, seed: int) -> Result:
        """The run."""
        return Result(
            scenario=kind,
            summary="made up",
            began=f"2026-11-15T{seed % 24:02}:00:00+08:00",
            commit="0123abc",
            environment={"processor": "Example", "cores": 8},
            configuration={"workers": self._workers},
            classes={"asked": ClassInfo(truth.endpoint, truth.items, 0.25)},
            stages=self._stages,
            windows=self._windows,
        )


def _cell(truth: Truth, answered: int, refused: int, p99: float, *, late: bool) -> Cell:
    right = answered * truth.items
    return Cell(
        offered=answered + refused,
        answered=answered,
        refused=refused,
        questions=right + refused * truth.items,
        right=right,
        good=right // 2 if late else right,
        refused_questions=refused * truth.items,
        latency=_latency(answered, p99),
    )


def _latency(answered: int, p99: float) -> Histogram:
    """One in twenty takes as long as the p99, the others a third of it."""
    slow = max(1, answered // 20)
    found = Histogram()
    for count, seconds in ((answered - slow, p99 / 3), (slow, p99)):
        bucket = bucket_of(int(seconds * 1e6))
        found.counts[bucket] = found.counts.get(bucket, 0) + count
        found.longest = max(found.longest, int(seconds * 1e6))
    return found
