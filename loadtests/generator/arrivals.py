"""When requests are meant to be sent: seconds from the beginning, ascending, made as they are used.

A rate that changes in straight lines is inverted exactly: the n-th arrival comes when the area
under the rate reaches the n-th of a process of rate 1. So constant and Poisson arrivals differ only
in the steps of that process, and a ramp has neither bursts nor holes where stages meet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from math import sqrt
from pathlib import Path
from random import Random
from typing import NamedTuple


class Slope(NamedTuple):
    """``seconds`` in which the rate goes from ``begin`` to ``end``, in requests a second."""

    seconds: float
    begin: float
    end: float


def constant() -> Iterator[float]:
    """Steps of a process of rate 1 whose arrivals are equally far apart."""
    return repeat(1.0)


def poisson(random: Random) -> Iterator[float]:
    """Steps of a Poisson process of rate 1: independent callers."""
    while True:
        yield random.expovariate(1.0)


def moments(slopes: Sequence[Slope], steps: Iterator[float]) -> Iterator[float]:
    """The arrivals of slopes that follow each other."""
    began = 0.0
    left = next(steps)
    for seconds, begin, end in slopes:
        area = 0.0
        whole = (begin + end) / 2 * seconds
        while area + left <= whole:
            area += left
            yield began + _time_of(area, seconds, begin, end)
            left = next(steps)
        left -= whole - area
        began += seconds


def _time_of(area: float, seconds: float, begin: float, end: float) -> float:
    """The time after which the area under a slope is ``area``."""
    gradient = (end - begin) / seconds
    # Of begin × t + gradient ÷ 2 × t² = area, in the form that also holds for a gradient of 0.
    return 2 * area / (begin + sqrt(max(0.0, begin * begin + 2 * gradient * area)))


def share(arrivals: Iterable[float], part: int, parts: int) -> Iterator[float]:
    """Every ``parts``-th arrival, from the one of index ``part``: one generator's of several."""
    return (moment for index, moment in enumerate(arrivals) if index % parts == part)


class BadTimestamps(Exception):
    """A file of timestamps cannot be replayed; the message names the line."""


def replay(file: Path, speed: float = 1.0) -> list[float]:
    """Arrivals from a file of timestamps, a number of seconds a line, ``speed`` times as fast.

    The first one is moment 0. Empty lines and those that begin with # are passed over.
    BadTimestamps when a line is no number, goes back, or there is none.
    """
    found: list[float] = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            moment = float(text)
        except ValueError:
            raise BadTimestamps(
                f"{file}: line {number}: expected seconds as a number, got {text!r}"
            ) from None
        if found and moment < found[-1]:
            raise BadTimestamps(
                f"{file}: line {number}: expected at least {found[-1]}, as they ascend, got {text}"
            )
        found.append(moment)
    if not found:
        raise BadTimestamps(f"{file}: expected a timestamp a line, got none")
    return [(moment - found[0]) / speed for moment in found]
