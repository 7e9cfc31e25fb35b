"""P1 to P14: what is divided by what, the target, and whether it was met."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from math import nan
from statistics import median

import msgspec

from bench.compare import BUDGET
from bench.programs import Sample


class Figure(msgspec.Struct, frozen=True):
    """A ratio of two measurements (bench.measure), or one of them alone.

    ``at_least`` says on which side of the target it has to be.
    """

    name: str
    text: str
    over: str
    under: str
    target: float
    at_least: bool
    unit: str = ""


FIGURES = (
    Figure(
        "P1",
        "single, cached: rate ÷ bare aiohttp handler",
        "single cached",
        "single bare",
        2.0,
        at_least=True,
    ),
    Figure(
        "P2",
        "single, uncached: rate ÷ bare aiohttp handler",
        "single uncached",
        "single bare",
        1.0,
        at_least=True,
    ),
    Figure(
        "P3",
        "single, uncached: rate ÷ FastAPI + uvicorn + asyncpg pool",
        "single uncached",
        "single fastapi",
        6.5,
        at_least=True,
    ),
    Figure(
        "P4",
        "single, uncached: rate ÷ aiohttp + asyncpg pool",
        "single uncached",
        "single pool",
        3.7,
        at_least=True,
    ),
    Figure(
        "P5",
        "single, uncached: p99 ÷ that of aiohttp + pool, at 70 % of its capacity",
        "p99 uncached",
        "p99 pool",
        0.7,
        at_least=False,
    ),
    Figure(
        "P6",
        "batch of 1,000, cached: time ÷ msgspec decode + orjson encode",
        "codec",
        "batch cached",
        3.0,
        at_least=False,
    ),
    Figure(
        "P7",
        "batch of 1,000, uncached: verdicts ÷ rows of raw asyncpg",
        "batch uncached",
        "raw",
        0.75,
        at_least=True,
    ),
    Figure(
        "P8",
        "stream: verdicts ÷ those of cached batches",
        "stream",
        "batch cached",
        0.8,
        at_least=True,
    ),
    Figure(
        "P8m", "stream: growth of memory", "stream growth", "", 32.0, at_least=False, unit="MiB"
    ),
    Figure("P9", "ledger import: rows ÷ plain COPY", "import", "copy", 0.4, at_least=True),
    Figure("P10", "memory per cached invoice", "memory", "", 900.0, at_least=False, unit="bytes"),
    Figure(
        "P11",
        "worker start to ready ÷ importing aiohttp and asyncpg",
        "start",
        "imports",
        2.5,
        at_least=False,
    ),
    Figure(
        "P14",
        "single, uncached: rate ÷ Go's net/http + pgx pool",
        "single uncached",
        "single go",
        1.5,
        at_least=True,
    ),
)

# They come with admission.
NOT_YET = {
    "P12": "goodput at 3 × saturation ÷ peak goodput",
    "P13": "singles' p99 while bulk saturates the service ÷ without",
}


class Result(msgspec.Struct, frozen=True):
    """A figure as measured: the ratio of each round, their median and spread."""

    name: str
    text: str
    unit: str
    target: float
    at_least: bool
    bound: float
    ratios: list[float]
    cpu_ratios: list[float]
    over: str
    under: str

    @property
    def median(self) -> float:
        """What is judged; not a number when no round counted, which meets nothing."""
        return median(self.ratios) if self.ratios else nan

    @property
    def by_cpu(self) -> float | None:
        """The same ratio from what both used of their core: what it is when nobody disturbs."""
        return median(self.cpu_ratios) if self.cpu_ratios else None

    @property
    def met(self) -> bool:
        """Whether it is at or beyond its target."""
        return self._within(self.target)

    @property
    def in_budget(self) -> bool:
        """Whether it is within its bound in budget.toml."""
        return self._within(self.bound)

    def _within(self, limit: float) -> bool:
        return self.median >= limit if self.at_least else self.median <= limit


def wanted(names: Sequence[str]) -> list[Figure]:
    """The figures of these names, all of them without any. ValueError names one that is none."""
    known = {figure.name.lower(): figure for figure in FIGURES}
    for name in names:
        if name.lower() not in known:
            raise ValueError(f"{name}: expected some of {', '.join(f.name for f in FIGURES)}")
    chosen = {name.lower().removesuffix("m") for name in names}
    return [
        figure
        for key, figure in known.items()
        if not names or key in chosen or key.removesuffix("m") in chosen
    ]


def measurements(figures: Iterable[Figure], order: Iterable[str]) -> list[str]:
    """What has to be measured for these figures, in the order of ``order``."""
    needed = {name for figure in figures for name in (figure.over, figure.under) if name}
    return [name for name in order if name in needed]


def budget() -> dict[str, float]:
    """The bound of each figure."""
    bounds: dict[str, float] = tomllib.loads(BUDGET.read_text())["figures"]
    return bounds


def result(
    figure: Figure, samples: Mapping[str, Sequence[Sample | None]], bounds: Mapping[str, float]
) -> Result:
    """Divide the rounds one by one: what drifted, drifted on both sides.

    A round in which a side did not count is left out.
    """
    over = samples[figure.over]
    under = samples[figure.under] if figure.under else over
    pairs = [(a, b) for a, b in zip(over, under, strict=True) if a is not None and b is not None]
    alone = not figure.under
    return Result(
        figure.name,
        figure.text,
        figure.unit,
        figure.target,
        figure.at_least,
        bounds[figure.name],
        [a.value if alone else a.value / b.value for a, b in pairs],
        [b.cpu / a.cpu for a, b in pairs if a.cpu and b.cpu and not alone],
        _middle([a for a, _ in pairs]),
        "" if alone else _middle([b for _, b in pairs]),
    )


def _middle(samples: Sequence[Sample]) -> str:
    """How the sample in the middle reads."""
    if not samples:
        return "no run counted"
    return sorted(samples, key=lambda sample: sample.value)[len(samples) // 2].shown
