"""A number that was fitted, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit  # type: ignore[import-untyped]

Numbers = NDArray[np.float64]

# Of bands: one in twenty lies below them, one above.
CONFIDENCE = 0.9
# Bootstrap draws of a fit: enough for the ends of a band of 90 %.
DRAWS = 200


class Estimate(msgspec.Struct, frozen=True):
    """A value, and the band that holds the true one with CONFIDENCE."""

    value: float
    low: float
    high: float


def estimate(value: float, draws: Sequence[float] | Numbers) -> Estimate:
    """The value with the band of its bootstrap draws; without draws, the band is the value.

    The band always has the value in it.
    """
    if not len(draws):
        return Estimate(value, value, value)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.asarray(draws), (tail, 1 - tail))
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def resampled(residuals: Numbers, parameters: int, random: np.random.Generator) -> Numbers | None:
    """Residuals drawn again, one for each; None when there are no more of them than parameters.

    A fit makes residuals smaller than the errors that they stand for, the more so the more
    parameters it has. And the fewer are left over, the less is known of the size of errors: they
    are widened as Student's t is wider than the normal distribution.
    """
    count = len(residuals)
    left = count - parameters
    if left <= 0:
        return None
    end = (1 + CONFIDENCE) / 2
    wider = np.sqrt(count / left) * stdtrit(left, end) / ndtri(end)
    return random.choice((residuals - residuals.mean()) * wider, count)
