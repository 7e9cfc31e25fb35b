"""Which rate the next step of a step run has, and whether a step was held."""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt

from loadtests.result import Cell
from loadtests.scenario import Steps


class Search:
    """Steps up until one is not held, then halves what lies between, by ratio."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._taken = 0
        # The highest rate that was held, and the lowest above it that was not; 0 is held.
        self.held = 0.0
        self.broken: float | None = None

    @property
    def rate(self) -> float | None:
        """Requests a second of the next step; None when the knee is known well enough."""
        steps = self._steps
        if self._taken >= steps.most:
            return None
        if self.broken is None:
            return self.held * steps.factor or steps.first
        if not self.held:
            return self.broken / steps.factor
        if self.broken <= self.held * (1 + steps.precision):
            return None
        return sqrt(self.held * self.broken)

    def book(self, rate: float, *, held: bool) -> None:
        """A step of this rate has been held or not."""
        self._taken += 1
        if held:
            self.held = max(self.held, rate)
        else:
            self.broken = rate if self.broken is None else min(self.broken, rate)


def held(steps: Steps, halves: Iterable[Iterable[Cell]]) -> bool:
    """Whether a step was held, from the cells of its two halves."""
    for half in halves:
        whole = Cell()
        for cell in half:
            whole.merge(cell)
        if whole.wrong or whole.good < steps.goodput * whole.questions:
            return False
    return True
