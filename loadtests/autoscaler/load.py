"""What is offered, second by second: a day from a curve, a step, a CSV file, or a run's result."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from loadtests import curves, result

STEP = "step"
DAY = 86_400
# Requests a second where an ordinary day's curve says 1, and after the step.
PEAK = 100_000.0

_TIMES = 20
# Seconds of the step's load: before, up, and down again.
_BEFORE, _UP, _AFTER = 600, 2_400, 1_800
# It becomes part of the names of files, and of links to them.
_NOT_A_NAME = re.compile(r"[^\w.-]")


class BadLoad(Exception):
    """There is no such load, or it cannot be read; the message says what was expected."""


class Load(msgspec.Struct, frozen=True):
    """``rates`` are requests a second, one for each second from midnight on.

    ``planned`` is what somebody who writes a schedule would have expected, None when nobody can
    know.
    """

    name: str
    title: str
    rates: Sequence[float]
    planned: Sequence[float] | None = None

    @property
    def is_day(self) -> bool:
        """Whether it is long enough to be told by the time of day."""
        return len(self.rates) > 3 * 3_600


def names() -> list[str]:
    """The loads that there are without a file."""
    return [*curves.names(), STEP]


def find(text: str, peak: float | None, stretch: float = 1.0) -> Load:
    """A load by its name, a CSV file, or a folder with a run's result.

    A recording is as it was recorded unless ``peak`` says how many requests a second its highest
    second shall have; ``stretch`` makes it so many times as long.
    """
    if text == STEP:
        return step(peak or PEAK)
    if text in curves.names():
        return day(text, peak or PEAK)
    path = Path(text)
    if path.is_dir() or path.suffix == ".json":
        return _recorded(path.resolve().stem, _run(path), peak, stretch)
    if path.is_file():
        return _recorded(path.stem, _csv(path), peak, stretch)
    raise BadLoad(
        f"--load: expected one of {', '.join(names())}, a CSV file, or a folder with a "
        f"{result.FILE}, got {text!r}"
    )


def day(name: str, peak: float) -> Load:
    """A day of curves/; what is planned for is an ordinary one."""
    title = f"{name.replace('_', ' ')} day".capitalize()
    return Load(name, title, _curve(name, peak), _curve("ordinary", peak))


def step(peak: float) -> Load:
    """From one second to the next 20 times as many, without notice, and back again."""
    low = peak / _TIMES
    rates = [low] * _BEFORE + [peak] * _UP + [low] * _AFTER
    return Load(STEP, f"Step of {_TIMES} ×", rates, [low] * len(rates))


def _curve(name: str, peak: float) -> list[float]:
    points = curves.read(curves.find(name))
    return list(_between([(gone * DAY, share * peak) for gone, share in points]))


def _recorded(
    name: str, points: Sequence[tuple[float, float]], peak: float | None, stretch: float
) -> Load:
    name = _NOT_A_NAME.sub("_", name)[:40]
    highest = max(rate for _, rate in points)
    if highest <= 0:
        raise BadLoad(f"{name}: expected requests, got none")
    times = peak / highest if peak else 1.0
    rates = _between([(second * stretch, rate * times) for second, rate in points])
    return Load(name, f"Recorded: {name}", list(rates))


def _between(points: Sequence[tuple[float, float]]) -> Iterator[float]:
    """The rate of every whole second from the first point up to, and without, the last."""
    second = 0
    origin = points[0][0]
    for (begin, low), (end, high) in pairwise(points):
        while second < end - origin:
            yield low + (high - low) * (second + origin - begin) / (end - begin)
            second += 1


def _csv(file: Path) -> list[tuple[float, float]]:
    points: list[tuple[float, float]] = []
    with file.open(newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines), 2):
            try:
                second, rate = float(row["seconds"]), float(row["requests_per_second"])
            except (KeyError, TypeError, ValueError):
                raise BadLoad(
                    f"{file}: line {number}: expected seconds,requests_per_second, got {row}"
                ) from None
            if not 0 <= rate < float("inf") or not (points[-1][0] if points else -1) < second < 1e9:
                raise BadLoad(
                    f"{file}: line {number}: expected ascending seconds and rates from 0, got {row}"
                )
            points.append((second, rate))
    if len(points) < 2:
        raise BadLoad(f"{file}: expected at least two lines of seconds,requests_per_second")
    return points


def _run(folder: Path) -> list[tuple[float, float]]:
    offered = {
        window.second: float(sum(cell.offered for cell in window.cells.values()))
        for window in result.read(folder).windows
    }
    if not offered:
        raise BadLoad(f"{folder}: expected a run of at least a second")
    # A second in which nothing was due has no window.
    last = max(offered)
    points = [(float(at), offered.get(at, 0.0)) for at in range(min(offered), last + 1)]
    return [*points, (last + 1.0, offered[last])]
