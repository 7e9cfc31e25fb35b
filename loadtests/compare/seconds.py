"""The seconds of two runs side by side, and what comes of them in each draw of the bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from loadtests.compare.bootstrap import Numbers, percentiles, weights, widening
from loadtests.result import Cell, Result, StageRun, Window

Pair = tuple[StageRun, StageRun]


class Part(NamedTuple):
    """A part of something in one second: how much of it there is, and of how much."""

    amount: float
    of: float


class Seconds:
    """Seconds of two runs side by side, and how often each is in each draw.

    The seconds of a stage are drawn together: what a load does in one of them, such as to rise, it
    does in both runs.
    """

    def __init__(
        self, a: Result, b: Result, pairs: Sequence[Pair], random: np.random.Generator, draws: int
    ) -> None:
        self.a = _windows(a, (stage for stage, _ in pairs))
        self.b = _windows(b, (stage for _, stage in pairs))
        lengths = [stage.end - stage.begin for stage, _ in pairs]
        self.drawn = weights(lengths, random, draws)
        self.wider = widening(lengths)

    def shares(self, part: Callable[[Window], Part]) -> tuple[Numbers, Numbers]:
        """A share in both runs, in each draw; nan where it is of nothing."""
        return self._share(self.a, part), self._share(self.b, part)

    def percentiles(self, name: str, shares: Sequence[float]) -> Iterator[tuple[Numbers, Numbers]]:
        """Percentiles of a class in both runs, in each draw; nan where nothing was answered."""
        empty = Cell()
        first, second = (
            percentiles(
                self.drawn, [each.cells.get(name, empty).latency for each in windows], shares
            )
            for windows in (self.a, self.b)
        )
        return zip(first, second, strict=True)

    def _share(self, windows: Sequence[Window], part: Callable[[Window], Part]) -> Numbers:
        sums: Numbers = self.drawn @ np.array([part(window) for window in windows], dtype=float)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares: Numbers = sums[:, 0] / sums[:, 1]
        return shares


def _windows(result: Result, stages: Iterable[StageRun]) -> list[Window]:
    """Every second of the stages, those without a request too."""
    known = {window.second: window for window in result.windows}
    return [
        known.get(second) or Window(second)
        for stage in stages
        for second in range(stage.begin, stage.end)
    ]
