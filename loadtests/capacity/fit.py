"""From runs to a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from loadtests.capacity import costs, latency, usl
from loadtests.capacity.estimates import DRAWS
from loadtests.capacity.latency import Stage
from loadtests.capacity.model import Kind, Model, Provenance
from loadtests.capacity.observed import Observed, Unfit, observed
from loadtests.capacity.usl import Law, Point
from loadtests.report.words import joined
from loadtests.result import Result


class NotEnough(Exception):
    """The runs do not make a model; the message says what is missing."""


def usable(results: Iterable[tuple[str, Result]]) -> tuple[list[Observed], dict[str, str]]:
    """The runs, by their label, that say something; and why the others do not."""
    runs: list[Observed] = []
    left_out: dict[str, str] = {}
    for label, result in results:
        try:
            runs.append(observed(label, result))
        except Unfit as reason:
            left_out[label] = str(reason)
    return runs, left_out


def fit(
    runs: Sequence[Observed],
    left_out: Mapping[str, str],
    *,
    replicas: int = 1,
    seed: int = 0,
    draws: int = DRAWS,
) -> Model:
    """The model of runs of a service with so many replicas. NotEnough when there is none."""
    stepped = [run for run in runs if run.stepped and run.throughput > 0]
    if not stepped:
        raise NotEnough(
            "expected runs with steps up to the knee, as capacity measure makes them; "
            f"got {len(runs)} others" + "".join(f"; {key}: {left_out[key]}" for key in left_out)
        )
    shares = sorted({run.cores_each for run in runs})
    if len(shares) > 1:
        raise NotEnough(f"--cores: expected runs with the same part of a core, got {shares}")
    notes: list[str] = []
    kinds: dict[str, Kind] = {}
    for name in sorted({run.kind for run in stepped}):
        alike = [run for run in stepped if run.kind == name]
        law = usl.fit([Point(run.workers, run.throughput) for run in alike], seed=seed, draws=draws)
        notes += _doubts(name, law)
        stages = held_stages(alike, law)
        curve = None
        if len(stages) >= latency.FEWEST:
            curve = latency.fit(stages, seed=seed, draws=draws)
        else:
            notes.append(f"{name}: {len(stages)} stages were held, too few for a curve of p99")
        hits = [run.best.hit for run in alike if run.best.hit is not None]
        if not hits:
            raise NotEnough(f"{name}: expected cache hits in the service's numbers, got none")
        kinds[name] = Kind(alike[0].endpoint, alike[0].items, sum(hits) / len(hits), law, curve)
    try:
        found = costs.fit(runs, seed=seed, draws=draws)
    except ValueError as error:
        raise NotEnough(str(error)) from error
    for part, unknown in (
        ("workers", found.unknown_of_workers),
        ("databases", found.unknown_of_databases),
    ):
        notes += [f"CPU of {part}, {term}: unknown, {why}" for term, why in unknown.items()]
    return Model(kinds, found, _provenance(runs, left_out, replicas), tuple(notes))


def held_stages(runs: Sequence[Observed], law: Law) -> list[Stage]:
    """Stages that had a steady state, by their utilisation as the law has it."""
    return [
        Stage(sample.offered / law.fitted.at(run.workers), sample.p99)
        for run in runs
        for sample in run.samples
        if sample.held and sample.p99 > 0
    ]


def _doubts(name: str, law: Law) -> list[str]:
    numbers = sorted({point.workers for point in law.points})
    found = []
    if law.free < 3:
        lacking = "σ and κ are" if law.free == 1 else "κ is"
        measured = joined([str(number) for number in numbers])
        workers = "worker" if numbers == [1] else "workers"
        found.append(
            f"{name}: measured with {measured} {workers}, so {lacking} not known, and taken for 0"
        )
    if not law.draws:
        found.append(f"{name}: no more runs than parameters, so its law has no band")
    return found


def _provenance(runs: Sequence[Observed], left_out: Mapping[str, str], replicas: int) -> Provenance:
    began = sorted(run.began for run in runs)
    return Provenance(
        runs=tuple(sorted(run.label for run in runs)),
        left_out=dict(left_out),
        commits=tuple(sorted({run.commit for run in runs})),
        first=began[0],
        last=began[-1],
        environment=dict(runs[0].environment),
        replicas=replicas,
        resident_bytes=max(run.resident_bytes // run.workers for run in runs),
        cores_each=runs[0].cores_each,
    )
