"""p99 by utilisation: base + slope × ρ ÷ (limit − ρ).

The wait in a queue has a tail that is about exponential, with a mean that grows as ρ ÷ (1 − ρ)
whatever the distributions of arrivals and service (Kingman's law), so that its 99th percentile is a
multiple of it; ``base`` is what a question takes that waits for nobody. ρ is the offered rate ÷ the
highest that these workers held. A queue has no end only somewhat above that one, at ``limit``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from scipy.optimize import least_squares  # type: ignore[import-untyped]

from loadtests.capacity.estimates import DRAWS, Estimate, Numbers, estimate, resampled

# p99 of a stage of seconds differs by so much, as a share, without anything being wrong.
_OUTLIER = 0.3
# Stages that a curve needs: one more than it has parameters.
FEWEST = 4
# Utilisation at which the queue has no end: above all that was held, and not far above it.
_ABOVE, _LIMITS = 1.02, (1.0, 3.0)
# The solver starts inside of its bounds, and is content when nothing changes by more than this.
_INSIDE, _CLOSE = 1e-6, 1e-6


class Stage(NamedTuple):
    """A stage that was held: utilisation, and the p99 (seconds) that it had."""

    utilisation: float
    p99: float


class Shape(NamedTuple):
    """``base`` and ``slope`` in seconds, ``limit`` as a utilisation."""

    base: float
    slope: float
    limit: float

    def at(self, utilisation: float) -> float:
        """p99 in seconds; infinite from the limit on."""
        if utilisation >= self.limit:
            return float("inf")
        return self.base + self.slope * utilisation / (self.limit - utilisation)

    def within(self, p99: float) -> float:
        """The utilisation up to which p99 stays within so many seconds; 0 when it never does."""
        room = p99 - self.base
        return self.limit * room / (self.slope + room) if room > 0 else 0.0


class Curve(msgspec.Struct, frozen=True):
    """A shape that was fitted, bootstrap draws of it, and its stages."""

    fitted: Shape
    draws: tuple[Shape, ...]
    stages: tuple[Stage, ...]

    def at(self, utilisation: float) -> Estimate:
        """p99 in seconds."""
        return estimate(self.fitted.at(utilisation), [each.at(utilisation) for each in self.draws])

    def within(self, p99: float) -> Estimate:
        """The utilisation that p99 allows, but never more than was measured."""
        most = self.most
        return estimate(
            min(most, self.fitted.within(p99)), [min(most, each.within(p99)) for each in self.draws]
        )

    @property
    def most(self) -> float:
        """The highest utilisation that was measured, at most 1."""
        return min(1.0, max(stage.utilisation for stage in self.stages))


def fit(stages: Sequence[Stage], *, seed: int = 0, draws: int = DRAWS) -> Curve:
    """The curve through stages that were held. ValueError when there are fewer than FEWEST."""
    if len(stages) < FEWEST:
        raise ValueError(f"stages: expected at least {FEWEST} that were held, got {len(stages)}")
    loads = np.array([stage.utilisation for stage in stages])
    p99s = np.log([stage.p99 for stage in stages])
    found = _solved(loads, p99s, None)
    curve = np.log([found.at(load) for load in loads])
    random = np.random.default_rng(seed)
    others: list[Shape] = []
    for _ in range(draws):
        errors = resampled(p99s - curve, len(Shape._fields), random)
        assert errors is not None
        others.append(_solved(loads, curve + errors, found))
    return Curve(found, tuple(others), tuple(stages))


def _solved(loads: Numbers, log_p99s: Numbers, begin: Shape | None) -> Shape:
    lowest = max(_LIMITS[0], _ABOVE * float(loads.max()))
    highest = lowest + _LIMITS[1] - _LIMITS[0]
    unit = float(np.exp(log_p99s.min()))
    first = np.array(begin or (0.9 * unit, 0.1 * unit, lowest + 0.1)) / (unit, unit, 1.0)
    least, most = np.array((_INSIDE, 0.0, lowest)), np.array((np.inf, np.inf, highest))

    def errors(given: Numbers) -> Numbers:
        base, slope, limit = given
        found = unit * (base + slope * loads / (limit - loads))
        return np.asarray(np.log(found) - log_p99s)

    def slopes(given: Numbers) -> Numbers:
        base, slope, limit = given
        queue = loads / (limit - loads)
        by_limit = -slope * queue / (limit - loads)
        columns = np.column_stack((np.ones_like(loads), queue, by_limit))
        return np.asarray(columns / (base + slope * queue)[:, None])

    found = least_squares(
        errors,
        np.clip(first, least + _INSIDE, most - _INSIDE),
        slopes,
        bounds=(least, most),
        loss="soft_l1",
        f_scale=_OUTLIER,
        ftol=_CLOSE,
        xtol=_CLOSE,
    ).x
    return Shape(unit * float(found[0]), unit * float(found[1]), float(found[2]))
