"""What two runs of one load are compared in: latencies, goodput, refusals, CPU, and the knee."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from math import inf

import msgspec
import numpy as np

from loadtests.compare.bootstrap import Numbers, Spread, spread
from loadtests.compare.seconds import Part, Seconds
from loadtests.report.budgets import knee
from loadtests.result import Cell, Result, Window


class Bounds(msgspec.Struct, frozen=True):
    """A section of budget.toml, which says what each is."""

    p50: float
    p99: float
    goodput: float
    knee: float
    past_knee: float
    cpu_workers: float
    cpu_databases: float
    refused: float
    unavailable: float


class Figure(msgspec.Struct, frozen=True):
    """One figure of both runs: ``change`` is B ÷ A or, where ``points``, B - A of shares.

    ``a`` and ``b`` are in ``unit``: seconds (s), requests a second (/s), or shares from 0 to 1 (%).
    With ``at_least`` the change must not be below ``bound``, without it not above.
    """

    name: str
    unit: str
    a: float
    b: float
    change: Spread
    bound: float
    at_least: bool = False
    points: bool = False

    @property
    def worse(self) -> bool:
        """The whole interval is beyond the bound."""
        return self.change.high < self.bound if self.at_least else self.change.low > self.bound

    @property
    def unclear(self) -> bool:
        """The figure is beyond its bound, but its interval is not: a longer run would tell."""
        value = self.change.value
        return not self.worse and (value < self.bound if self.at_least else value > self.bound)


class Figures:
    """Figures as they come; ``missing`` says in words which do not."""

    def __init__(self, limits: Bounds) -> None:
        self.found: list[Figure] = []
        self.missing: list[str] = []
        self._limits = limits

    def latencies(self, seconds: Seconds, classes: Iterable[str]) -> None:
        """p50 and p99 of each class."""
        for name in classes:
            p50, p99 = seconds.percentiles(name, (0.5, 0.99))
            self._ratio(f"p50 of {name}", "s", p50, self._limits.p50, seconds.wider)
            self._ratio(f"p99 of {name}", "s", p99, self._limits.p99, seconds.wider)

    def shares(self, seconds: Seconds, classes: Iterable[str]) -> None:
        """Goodput of each class; what is refused or unavailable of all."""
        for name in classes:
            good = seconds.shares(partial(_good, name))
            bound = self._limits.goodput
            self._ratio(f"goodput of {name}", "%", good, bound, seconds.wider, at_least=True)
        for label, part, bound in (
            ("requests refused", _refused, self._limits.refused),
            ("questions unavailable", _unavailable, self._limits.unavailable),
        ):
            a, b = seconds.shares(part)
            change = spread(b - a, seconds.wider)
            self.found.append(
                Figure(label, "%", float(a[0]), float(b[0]), change, bound, points=True)
            )

    def cpu(self, seconds: Seconds) -> None:
        """Seconds of CPU for each question that was answered."""
        for name, bound in (
            ("workers", self._limits.cpu_workers),
            ("databases", self._limits.cpu_databases),
        ):
            used = seconds.shares(partial(_cpu, name))
            self._ratio(f"CPU of {name} a question", "s", used, bound, seconds.wider)

    def past_knee(self, beyond: Seconds, at_knee: Seconds) -> None:
        """Goodput a second past the knee, as a part of that at the knee."""
        with np.errstate(invalid="ignore", divide="ignore"):
            a, b = (
                past / at
                for past, at in zip(beyond.shares(_goodput), at_knee.shares(_goodput), strict=True)
            )
        bound, wider = self._limits.past_knee, max(beyond.wider, at_knee.wider)
        self._ratio("goodput past the knee", "%", (a, b), bound, wider, at_least=True)

    def knee(self, a: Result, b: Result) -> None:
        """The knee. A run has it between the last step held and the first that was not."""
        first, second = knee(a), knee(b)
        if not first.held or not second.held:
            self.missing.append("knee: a run holds no step")
            return
        low = second.held / (first.broken or inf)
        high = (second.broken or inf) / first.held
        change = Spread(second.held / first.held, low, high)
        bound = self._limits.knee
        self.found.append(
            Figure("knee", "/s", first.held, second.held, change, bound, at_least=True)
        )

    def _ratio(
        self,
        name: str,
        unit: str,
        both: tuple[Numbers, Numbers],
        bound: float,
        wider: float,
        *,
        at_least: bool = False,
    ) -> None:
        a, b = both
        with np.errstate(invalid="ignore", divide="ignore"):
            change = b / a
        if not np.isfinite(change[0]):
            self.missing.append(f"{name}: a run has nothing to compare")
            return
        found = spread(change, wider)
        self.found.append(Figure(name, unit, float(a[0]), float(b[0]), found, bound, at_least))


def _good(name: str, window: Window) -> Part:
    cell = window.cells.get(name, Cell())
    return Part(cell.good, cell.questions)


def _goodput(window: Window) -> Part:
    return Part(sum(cell.good for cell in window.cells.values()), 1.0)


def _refused(window: Window) -> Part:
    cells = window.cells.values()
    return Part(sum(cell.refused for cell in cells), sum(cell.offered for cell in cells))


def _unavailable(window: Window) -> Part:
    cells = window.cells.values()
    return Part(sum(cell.unavailable for cell in cells), sum(cell.questions for cell in cells))


def _cpu(name: str, window: Window) -> Part:
    if window.service is None or name not in window.service.cpu:
        return Part(0.0, 0.0)
    answered = sum(cell.right + cell.wrong + cell.unavailable for cell in window.cells.values())
    return Part(window.service.cpu[name], answered)
