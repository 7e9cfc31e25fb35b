"""The model on trial: fitted on half of the runs, it predicts the others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import isinf
from statistics import median

import msgspec

from loadtests.capacity import costs
from loadtests.capacity.fit import NotEnough, fit
from loadtests.capacity.model import Model
from loadtests.capacity.observed import Observed
from loadtests.report.words import duration, rate, share

# What is wanted: relative errors.
THROUGHPUT, P99 = 0.10, 0.30
_MISS = "**miss**"


class Trial(msgspec.Struct, frozen=True):
    """One prediction beside what was measured; ``stage`` is empty for that of a whole run."""

    label: str
    stage: str
    utilisation: float
    measured: float
    predicted: float
    wanted: float

    @property
    def error(self) -> float:
        """Relative: 0.1 is 10 % too much. Infinite where the model sees no steady state."""
        return self.predicted / self.measured - 1

    @property
    def missed(self) -> bool:
        """Whether the error is more than is wanted."""
        return abs(self.error) > self.wanted


class Validation(msgspec.Struct, frozen=True):
    """What came of it; ``cores`` are the relative errors of the workers' CPU, stage by stage."""

    fitted: tuple[str, ...]
    throughput: tuple[Trial, ...]
    p99: tuple[Trial, ...]
    cores: tuple[float, ...]


def halves(runs: Sequence[Observed]) -> tuple[list[Observed], list[Observed]]:
    """Every other run of each kind and number of workers, the first included; and the rest.

    Where each number was measured once, every other number.
    """
    fitted: list[Observed] = []
    others: list[Observed] = []
    for kind in sorted({run.kind for run in runs}):
        alike = sorted(
            (run for run in runs if run.kind == kind), key=lambda run: (run.workers, run.began)
        )
        groups = [list(group) for _, group in groupby(alike, key=lambda run: run.workers)]
        if all(len(group) == 1 for group in groups):
            groups = [alike]
        for group in groups:
            fitted += group[::2]
            others += group[1::2]
    return fitted, others


def validate(runs: Sequence[Observed], *, seed: int = 0) -> Validation:
    """Fit half of the runs and predict the others. NotEnough when there are not two halves."""
    fitted, others = halves(runs)
    if not any(run.stepped for run in others):
        raise NotEnough("expected two runs of a kind at least, one to fit and one to predict")
    model = fit(fitted, {}, seed=seed, draws=0)
    stepped = [run for run in others if run.stepped and run.throughput > 0]
    return Validation(
        tuple(run.label for run in fitted),
        tuple(_throughput(model, run) for run in stepped),
        tuple(trial for run in stepped for trial in _p99s(model, run)),
        tuple(error for run in others for error in _cores(model, run)),
    )


def _throughput(model: Model, run: Observed) -> Trial:
    predicted = model.kinds[run.kind].law.fitted.at(run.workers)
    return Trial(run.label, "", 1.0, run.throughput, predicted, THROUGHPUT)


def _p99s(model: Model, run: Observed) -> list[Trial]:
    kind = model.kinds[run.kind]
    if kind.curve is None:
        return []
    most = kind.law.fitted.at(run.workers)
    return [
        Trial(run.label, each.stage, load, each.p99, kind.curve.fitted.at(load), P99)
        for each in run.samples
        if each.held and each.p99 > 0
        for load in (each.offered / most,)
    ]


def _cores(model: Model, run: Observed) -> list[float]:
    return [
        model.costs.cores(costs.columns(run, each), run.room) / each.workers_cpu - 1
        for each in run.samples
        if each.prompt and each.workers_cpu and each.misses is not None
    ]


def markdown(found: Validation) -> str:
    """The tables, misses marked."""
    within = sum(not trial.missed for trial in found.throughput)
    p99s = sum(not trial.missed for trial in found.p99)
    lines = [
        (
            f"Fitted on {len(found.fitted)} runs. Of {len(found.throughput)} others, the model "
            f"predicts the throughput of {within} within {share(THROUGHPUT)}; and of the "
            f"{len(found.p99)} stages that they held, the p99 of {p99s} within {share(P99)} (the "
            "p99 of a stage is that of its median second)."
        ),
        "",
        "| run | throughput, questions | predicted | error | p99s within 30 % | worst |  |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
        *(_run(trial, found.p99) for trial in found.throughput),
    ]
    missed = [trial for trial in found.p99 if trial.missed]
    if missed:
        lines += [
            "",
            f"p99s that were missed by more than {share(P99)}:",
            "",
            "| run | stage | utilisation | p99 | predicted | error |",
            "| --- | --- | ---: | ---: | ---: | ---: |",
            *(_stage(trial) for trial in missed),
        ]
    if found.cores:
        sizes = sorted(map(abs, found.cores))
        lines += [
            "",
            (
                f"The workers' CPU of {len(sizes)} stages was predicted within "
                f"{share(median(sizes))} in half of them, and within "
                f"{share(sizes[int(0.9 * (len(sizes) - 1))])} in nine of ten."
            ),
        ]
    return "\n".join(lines) + "\n"


def _run(trial: Trial, p99s: Sequence[Trial]) -> str:
    own = [each for each in p99s if each.label == trial.label]
    within = sum(not each.missed for each in own)
    worst = max(own, key=lambda each: abs(each.error), default=None)
    cells = (
        trial.label,
        rate(trial.measured),
        rate(trial.predicted),
        _signed(trial),
        f"{within} of {len(own)}",
        "" if worst is None else _signed(worst),
        _MISS if trial.missed or within < len(own) else "",
    )
    return f"| {' | '.join(cells)} |"


def _stage(trial: Trial) -> str:
    cells = (
        trial.label,
        trial.stage,
        share(trial.utilisation),
        duration(trial.measured),
        "no end" if isinf(trial.predicted) else duration(trial.predicted),
        _signed(trial),
    )
    return f"| {' | '.join(cells)} |"


def _signed(trial: Trial) -> str:
    return "∞" if isinf(trial.error) else f"{100 * trial.error:+.0f} %"
