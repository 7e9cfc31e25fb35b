"""How throughput grows with workers: the Universal Scalability Law (N. J. Gunther, 1993).

X(N) = λN ÷ (1 + σ(N − 1) + κN(N − 1)). λ is the rate of one worker (a second), σ the share of the
work for which workers wait for each other (contention), κ what each pair costs to keep in step
(coherency). With κ above 0 there is a number of workers beyond which more of them do less.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
from scipy.optimize import least_squares, nnls  # type: ignore[import-untyped]

from loadtests.capacity.estimates import DRAWS, Estimate, Numbers, estimate, resampled

# An error of more than this, as a share, counts linearly instead of squared: one bad run in a fit
# of four must not bend the law.
_OUTLIER = 0.1
# The solver starts inside of its bounds, and is content when nothing changes by more than this.
_INSIDE, _CLOSE = 1e-6, 1e-6

Some = TypeVar("Some", float, Numbers)


class Point(NamedTuple):
    """What so many workers did: questions a second."""

    workers: int
    rate: float


class Parameters(NamedTuple):
    """λ, σ and κ."""

    rate: float
    contention: float = 0.0
    coherency: float = 0.0

    def at(self, workers: Some) -> Some:
        """Questions a second of so many workers, or of each number of them."""
        others = workers - 1
        waiting = 1 + self.contention * others + self.coherency * workers * others
        return self.rate * workers / waiting


class Law(msgspec.Struct, frozen=True):
    """A law that was fitted: its parameters, as many bootstrap draws of them, and its points.

    ``free`` parameters were fitted, of λ, σ and κ in this order; the others are 0. With ``draws``
    empty there were no more runs than parameters, and nothing is known of how sure they are.
    """

    fitted: Parameters
    free: int
    draws: tuple[Parameters, ...]
    points: tuple[Point, ...]

    def at(self, workers: float) -> Estimate:
        """Questions a second of so many workers."""
        return estimate(self.fitted.at(workers), [draw.at(workers) for draw in self.draws])

    def parameter(self, index: int) -> Estimate:
        """λ (0), σ (1) or κ (2)."""
        return estimate(self.fitted[index], [draw[index] for draw in self.draws])

    @property
    def peak(self) -> float | None:
        """Workers beyond which more do less, at least 1; None when there is no such number."""
        _, contention, coherency = self.fitted
        return max(1.0, sqrt(max(0.0, 1 - contention) / coherency)) if coherency else None

    @property
    def most_workers(self) -> int:
        """Most workers that were measured."""
        return max(point.workers for point in self.points)


def fit(points: Sequence[Point], *, seed: int = 0, draws: int = DRAWS) -> Law:
    """The law through measured points. ValueError when there is none, or a rate is not above 0.

    So many different numbers of workers have been measured, so many parameters can be told apart:
    one gives λ, two give σ as well, three give κ. Nothing is made up for the others.
    """
    if not points or min(point.rate for point in points) <= 0:
        raise ValueError(f"points: expected at least one, and rates above 0, got {list(points)}")
    workers = np.array([point.workers for point in points], dtype=float)
    rates = np.log([point.rate for point in points])
    free = min(3, len({point.workers for point in points}))
    found = _solved(workers, rates, _begun(workers, np.exp(rates), free))
    curve = np.log(found.at(workers))
    random = np.random.default_rng(seed)
    others: list[Parameters] = []
    for _ in range(draws):
        errors = resampled(rates - curve, free, random)
        if errors is None:
            break
        others.append(_solved(workers, curve + errors, found[:free]))
    return Law(found, free, tuple(others), tuple(points))


def _solved(workers: Numbers, log_rates: Numbers, begin: Sequence[float]) -> Parameters:
    """The parameters that fit best, by relative errors: as many as there are to begin with."""
    # In units of the first guess, λ is near 1, like everything else that the solver sees.
    unit = begin[0]

    def errors(given: Numbers) -> Numbers:
        return np.asarray(np.log(Parameters(unit * given[0], *given[1:]).at(workers)) - log_rates)

    def slopes(given: Numbers) -> Numbers:
        others = workers - 1
        columns = np.column_stack((others, workers * others))[:, : len(given) - 1]
        waiting = 1 + columns @ given[1:]
        return np.column_stack((np.full_like(workers, 1 / given[0]), -columns / waiting[:, None]))

    first = np.maximum(np.array([1.0, *begin[1:]]), _INSIDE)
    bounds = (np.array([_INSIDE, 0.0, 0.0][: len(begin)]), np.inf)
    found = least_squares(
        errors,
        first,
        slopes,
        bounds=bounds,
        loss="soft_l1",
        f_scale=_OUTLIER,
        ftol=_CLOSE,
        xtol=_CLOSE,
    ).x
    return Parameters(unit * float(found[0]), *(float(each) for each in found[1:]))


def _begun(workers: Numbers, rates: Numbers, free: int) -> list[float]:
    """A first guess at ``free`` parameters: N ÷ X is linear in 1 ÷ λ, σ ÷ λ and κ ÷ λ."""
    others = workers - 1
    columns = np.column_stack((np.ones_like(workers), others, workers * others))[:, :free]
    each = rates / workers
    (whole, *parts), _ = nnls(columns * each[:, None], np.ones_like(each))
    if whole <= 0:
        return [float(each.max()), *[0.0] * (free - 1)]
    return [float(1 / whole), *(float(part / whole) for part in parts)]
