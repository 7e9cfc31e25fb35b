"""What each thing costs in CPU: a linear model of the stages of many runs, fitted by NNLS.

Workers: a single question, an item of a batch and a line of a stream that memory answers; what a
miss adds to each (``single_miss``, ``bulk_miss``); a refused request; ``poll``, for each worker
and second, whatever is asked; ``connection``, for each open one and second; and ``wake``: a request
that finds its worker asleep, as a share of 1 − utilisation does, costs a wake-up too, so that the
same request is the dearer the less there is to do. Databases: misses, and polls.

All are seconds of CPU and at least 0. What runs cannot tell apart is not told apart: a cost whose
column is (nearly) a sum of the others' is left out, and said to be unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from scipy.optimize import nnls  # type: ignore[import-untyped]

from loadtests.capacity.estimates import DRAWS, Estimate, Numbers, estimate
from loadtests.capacity.observed import Observed, Sample

# In the order in which they are wanted: of two that cannot be told apart, the first is kept.
OF_WORKERS = (
    *("single", "item", "line", "poll", "single_miss", "bulk_miss", "refused", "wake"),
    "connection",
)
OF_DATABASES = ("single_miss", "bulk_miss", "poll")

# A column must stand out of the plane of the others by this share of its length: CPU is measured
# to a few per cent, and what is hidden under that is noise divided by nothing.
_APART = 0.05
# Stages are weighted by their CPU, so that errors are relative; those below this share of the
# largest are weighted like it, for theirs are ticks of the clock.
_LEAST = 0.05


class Row(NamedTuple):
    """A stage: how much of each term it had in a second, and the cores that it took."""

    columns: Mapping[str, float]
    cores: float


class Costs(msgspec.Struct, frozen=True):
    """Seconds of CPU by term, of ``workers`` and of ``databases``; why the others are unknown."""

    workers: Mapping[str, Estimate]
    databases: Mapping[str, Estimate]
    unknown_of_workers: Mapping[str, str]
    unknown_of_databases: Mapping[str, str]

    def cores(
        self,
        columns: Mapping[str, float],
        room: float,
        end: Literal["value", "low", "high"] = "value",
    ) -> float:
        """Cores that are taken by what there is of each term in a second (``columns``).

        Workers have ``room`` cores together. ``end`` takes all costs at that end of their bands.
        Unknown terms cost nothing: they are within those that they were not told apart from.
        """
        value: dict[str, float] = {name: getattr(each, end) for name, each in self.workers.items()}
        wake = value.pop("wake", 0.0)
        awake = sum(cost * columns.get(name, 0.0) for name, cost in value.items())
        requests = columns.get("wake", 0.0)
        # cores = awake + wake × requests × (1 − cores ÷ room), solved for cores.
        return min(room, (awake + wake * requests) / (1 + wake * requests / room))


def fit(runs: Sequence[Observed], *, seed: int = 0, draws: int = DRAWS) -> Costs:
    """The costs from all stages that answered promptly. ValueError when there are none."""
    by_run = [
        (run.kind, [(_of_workers(run, each), _of_databases(run, each)) for each in usable])
        for run in runs
        if (usable := [sample for sample in run.samples if _usable(sample)])
    ]
    if not by_run:
        raise ValueError("runs: expected stages with prompt answers and their CPU, got none")
    rows = [row for _, run in by_run for row in run]
    random = np.random.default_rng(seed)
    again = [_drawn(by_run, random) for _ in range(draws)]
    workers, unknown = _fitted(
        [row for row, _ in rows], [[row for row, _ in draw] for draw in again], OF_WORKERS
    )
    databases, unknown_of_databases = _fitted(
        [row for _, row in rows], [[row for _, row in draw] for draw in again], OF_DATABASES
    )
    return Costs(workers, databases, unknown, unknown_of_databases)


def columns(run: Observed, sample: Sample) -> dict[str, float]:
    """How much of each term of workers a stage had in a second; ``wake`` are all its requests."""
    done = sample.done
    asked = sum(done.values())
    misses = sample.misses or 0.0
    singles = done.get("single", 0.0) / asked if asked else 0.0
    return {
        **done,
        "single_miss": misses * singles,
        "bulk_miss": misses * (1 - singles),
        "refused": sample.refused,
        "poll": float(run.workers),
        "connection": sample.connections or 0.0,
        "wake": sample.requests,
    }


def _usable(sample: Sample) -> bool:
    known = (sample.misses, sample.workers_cpu, sample.databases_cpu)
    return sample.prompt and None not in known


def _of_workers(run: Observed, sample: Sample) -> Row:
    cores = sample.workers_cpu or 0.0
    found = columns(run, sample)
    found["wake"] *= max(0.0, 1 - cores / run.room)
    return Row(found, cores)


def _of_databases(run: Observed, sample: Sample) -> Row:
    return Row(columns(run, sample), sample.databases_cpu or 0.0)


def _drawn(
    by_run: Sequence[tuple[str, list[tuple[Row, Row]]]], random: np.random.Generator
) -> list[tuple[Row, Row]]:
    """Runs drawn again within their kind, and stages within each: a run's have much in common."""
    rows: list[tuple[Row, Row]] = []
    for kind in sorted({kind for kind, _ in by_run}):
        alike = [run for each, run in by_run if each == kind]
        for at in random.integers(0, len(alike), len(alike)):
            run = alike[at]
            rows += [run[each] for each in random.integers(0, len(run), len(run))]
    return rows


def _fitted(
    rows: Sequence[Row], draws: Sequence[Sequence[Row]], terms: Sequence[str]
) -> tuple[dict[str, Estimate], dict[str, str]]:
    kept, unknown = _told_apart(rows, terms)
    values = _solved(rows, kept)
    others = np.array([_solved(draw, kept) for draw in draws]).reshape(-1, len(kept))
    found = {
        name: estimate(float(value), others[:, at])
        for at, (name, value) in enumerate(zip(kept, values, strict=True))
    }
    return found, unknown


def _solved(rows: Sequence[Row], terms: Sequence[str]) -> Numbers:
    matrix, cores = _weighted(rows, terms)
    scale = np.linalg.norm(matrix, axis=0)
    # A draw may have left out all stages of a term.
    scale[scale == 0] = 1.0
    found, _ = nnls(matrix / scale, cores)
    return np.asarray(found / scale)


def _weighted(rows: Sequence[Row], terms: Sequence[str]) -> tuple[Numbers, Numbers]:
    cores = np.array([row.cores for row in rows])
    weights = 1 / np.maximum(cores, _LEAST * max(cores.max(), 1e-9))
    matrix = np.array([[row.columns.get(term, 0.0) for term in terms] for row in rows])
    return matrix * weights[:, None], cores * weights


def _told_apart(rows: Sequence[Row], terms: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The terms that these rows tell apart, and why they do not tell the others."""
    matrix, _ = _weighted(rows, terms)
    kept: list[int] = []
    unknown: dict[str, str] = {}
    for at, term in enumerate(terms):
        column = matrix[:, at]
        length = float(np.linalg.norm(column))
        if not length:
            unknown[term] = "these runs had none"
            continue
        parts = np.linalg.lstsq(matrix[:, kept], column, rcond=None)[0]
        left = float(np.linalg.norm(column - matrix[:, kept] @ parts))
        if left < _APART * length:
            sizes = np.abs(parts) * np.linalg.norm(matrix[:, kept], axis=0)
            like = [terms[kept[each]] for each in np.argsort(-sizes) if sizes[each] > 0.1 * length]
            unknown[term] = (
                f"in these runs it grew with {' and '.join(like)}, which have it in them"
            )
        else:
            kept.append(at)
    return [terms[at] for at in kept], unknown
