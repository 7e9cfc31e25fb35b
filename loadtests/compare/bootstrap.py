"""How sure a figure of a run is, from how much its seconds differ: a block bootstrap, seeded.

A run is drawn again from its own seconds, many times; the figure of each draw shows how far the
figure might have come out elsewhere. Seconds are drawn in blocks, since what makes one slow often
makes the next one slow, and within their stage, since stages differ on purpose. What no second of a
run shows, such as a machine that is slower all along, no interval holds: the bounds leave room for
that, and runs in turns show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import cbrt, ceil, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit  # type: ignore[import-untyped]

from loadtests.histogram import Histogram, bounds_of

Numbers = NDArray[np.float64]

DRAWS = 2_000
CONFIDENCE = 0.99
# Draws that are worked on at a time: bounds the memory, some 1,000 buckets wide each.
_CHUNK = 200


# Seconds of a stage from which on its draws differ: shorter ones have a block, or hardly more.
SHORTEST = 5


class Spread(NamedTuple):
    """A figure as it was measured, and its interval of CONFIDENCE, as far as seconds tell."""

    value: float
    low: float
    high: float


def weights(lengths: Sequence[int], random: np.random.Generator, draws: int = DRAWS) -> Numbers:
    """How often each second is in each draw: one row a draw, after a first one as it was.

    ``lengths`` are the seconds of the stages one after the other. A block may go on at its stage's
    beginning.
    """
    parts = [_of_stage(length, random, draws) for length in lengths]
    drawn = np.concatenate(parts, axis=1)
    return np.concatenate((np.ones((1, drawn.shape[1])), drawn))


def widening(lengths: Sequence[int]) -> float:
    """How many times wider than the draws an interval is, since there are only so many blocks.

    Draws from few blocks differ less than runs do, by the root of (blocks - 1) ÷ blocks, and their
    ends are Student's rather than those of many.
    """
    blocks = [length / _block(length) for length in lengths]
    free = max(1.0, sum(blocks) - len(blocks))
    share = (1 + CONFIDENCE) / 2
    return float(stdtrit(free, share) / ndtri(share)) * sqrt(1 + len(blocks) / free)


def _block(length: int) -> int:
    """Seconds in a block: it grows as the cube root of the stage, as suits means of such series."""
    return ceil(1.5 * cbrt(length))


def _of_stage(length: int, random: np.random.Generator, draws: int) -> Numbers:
    block = _block(length)
    begins = random.integers(0, length, (draws, ceil(length / block)))
    seconds = ((begins[:, :, None] + np.arange(block)) % length).reshape(draws, -1)[:, :length]
    places = seconds + length * np.arange(draws)[:, None]
    return (
        np.bincount(places.ravel(), minlength=draws * length).reshape(draws, length).astype(float)
    )


def percentiles(
    drawn: Numbers, seconds: Sequence[Histogram], shares: Sequence[float]
) -> list[Numbers]:
    """Each percentile (0 to 1) of each draw, in seconds; nan where nothing was drawn."""
    buckets = sorted({bucket for histogram in seconds for bucket in histogram.counts})
    if not buckets:
        return [np.full(len(drawn), np.nan) for _ in shares]
    places = {bucket: place for place, bucket in enumerate(buckets)}
    counts = np.zeros((len(seconds), len(buckets)))
    for row, histogram in enumerate(seconds):
        for bucket, count in histogram.counts.items():
            counts[row, places[bucket]] = count
    ends = np.array([(bounds_of(bucket)[1] - 1) / 1e6 for bucket in buckets])
    chunks = [
        _percentiles(drawn[at : at + _CHUNK] @ counts, ends, shares)
        for at in range(0, len(drawn), _CHUNK)
    ]
    return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]


def _percentiles(counts: Numbers, ends: Numbers, shares: Sequence[float]) -> list[Numbers]:
    reached = counts.cumsum(axis=1)
    total = reached[:, -1]
    found = []
    for share in shares:
        wanted = np.maximum(1.0, np.ceil(share * total))
        ends_at = ends[(reached >= wanted[:, None]).argmax(axis=1)]
        found.append(np.where(total > 0, ends_at, np.nan))
    return found


def spread(values: NDArray[np.floating[Any]], wider: float = 1.0) -> Spread:
    """What ``weights`` has led to: the first as it was, and where the others lie.

    The interval reaches ``wider`` times as far from the first as the others do.
    """
    value = float(values[0])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(values[1:], (tail, 1 - tail))
    return Spread(
        value,
        value - wider * max(0.0, value - float(low)),
        value + wider * max(0.0, float(high) - value),
    )
