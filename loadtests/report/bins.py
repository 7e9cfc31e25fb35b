"""A run in at most some hundreds of equal spans, so that the plot of a day is as small as any."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import ceil, isnan, nan
from typing import NamedTuple

from loadtests.result import Cell, Result, Service, Window

MOST = 300


class Bin(NamedTuple):
    """``seconds`` of windows that begin at ``begin``; a pause of the load may be in between."""

    begin: int
    seconds: int
    cells: dict[str, Cell]
    services: list[Service]
    generator_cpu: float


class Bins(NamedTuple):
    """All bins of a run, each ``width`` seconds wide; None where nothing was asked."""

    width: int
    bins: list[Bin | None]

    @property
    def x(self) -> list[float]:
        """The middle of each bin, in seconds of the run."""
        return [(at + 0.5) * self.width for at in range(len(self.bins))]

    def series(self, value: Callable[[Bin], float | None]) -> list[float]:
        """A number of each bin; nan, a gap in the line, where there is none."""
        found = (None if each is None else value(each) for each in self.bins)
        return [nan if number is None else number for number in found]


def bins(result: Result, most: int = MOST) -> Bins:
    """The windows of a run in at most so many bins."""
    end = max(stage.end for stage in result.stages)
    width = max(1, ceil(end / most))
    found: list[list[Window]] = [[] for _ in range(ceil(end / width))]
    for window in result.windows:
        if window.second < end:
            found[window.second // width].append(window)
    return Bins(width, [_bin(windows) if windows else None for windows in found])


def alone(values: Sequence[float]) -> list[float]:
    """Only the numbers between two gaps, which a line leaves out."""
    gaps = [True, *map(isnan, values), True]
    return [
        value if before and after else nan
        for value, before, after in zip(values, gaps, gaps[2:], strict=False)
    ]


def _bin(windows: list[Window]) -> Bin:
    cells: dict[str, Cell] = {}
    for window in windows:
        for name, cell in window.cells.items():
            cells.setdefault(name, Cell()).merge(cell)
    return Bin(
        windows[0].second,
        len(windows),
        cells,
        [window.service for window in windows if window.service is not None],
        sum(window.generator_cpu for window in windows),
    )


def per_second(*names: str) -> Callable[[Bin], float | None]:
    """The sum of these counts of all classes, a second."""

    def value(each: Bin) -> float:
        cells = each.cells.values()
        counted: int = sum(getattr(cell, name) for cell in cells for name in names)
        return counted / each.seconds

    return value


def p99(name: str) -> Callable[[Bin], float | None]:
    """Of a class, in milliseconds."""

    def value(each: Bin) -> float | None:
        cell = each.cells.get(name)
        return cell.latency.percentile(0.99) * 1e3 if cell is not None and cell.answered else None

    return value


def hit_ratio(each: Bin) -> float | None:
    """Of the cache, in percent."""
    hits = _sum(service.cache_hits for service in each.services)
    asked = hits + _sum(service.cache_misses for service in each.services)
    return 100 * hits / asked if asked else None


def cpu(part: str) -> Callable[[Bin], float | None]:
    """Of a part of the service, in cores."""

    def value(each: Bin) -> float | None:
        known = [service.cpu[part] for service in each.services if part in service.cpu]
        return sum(known) / len(known) if known else None

    return value


def generator_cpu(each: Bin) -> float | None:
    """Of all generators, in cores."""
    return each.generator_cpu / each.seconds


def _sum(values: Iterable[float | None]) -> float:
    return sum(value for value in values if value is not None)
