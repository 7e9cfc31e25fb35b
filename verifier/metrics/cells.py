"""What the catalog's entries are made of.

What is counted for each answer is a plain integer that the scrape reads: adding to a
prometheus-client counter or histogram takes a lock and costs ten times as much. All of it is for
one event loop.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

import prometheus_client
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector


class Cell:
    """One integer of a Tally; ``cell.count += 1`` is all that a hot path does."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Tally(Collector):
    """A counter with labels whose children are plain integers."""

    def __init__(
        self, registry: CollectorRegistry, name: str, text: str, labels: tuple[str, ...]
    ) -> None:
        self.name, self.text, self.label_names = name, text, labels
        self._cells: dict[tuple[str, ...], Cell] = {}
        registry.register(self)

    def cell(self, *labels: str) -> Cell:
        """The child of these label values, made at its first use."""
        cell = self._cells.get(labels)
        if cell is None:
            cell = self._cells[labels] = Cell()
        return cell

    def add(self, *labels: str, count: int = 1) -> None:
        """Add to the child of these label values."""
        self.cell(*labels).count += count

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Called by a scrape."""
        family = CounterMetricFamily(self.name, self.text, labels=self.label_names)
        for labels, cell in self._cells.items():
            family.add_metric(labels, cell.count)
        yield family


class Distribution:
    """How often values fell below each bound: one child of a Histogram."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class Histogram(Collector):
    """A histogram with labels; ``buckets`` are its upper bounds, inclusive and ascending."""

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        text: str,
        buckets: Sequence[float],
        labels: tuple[str, ...] = (),
    ) -> None:
        self.name, self.text, self.label_names = name, text, labels
        self._buckets = buckets
        self._shown = [*(str(float(bound)) for bound in buckets), "+Inf"]
        self._cells: dict[tuple[str, ...], Distribution] = {}
        if not labels:
            # Without labels it is there from the start, as zeros.
            self.cell()
        registry.register(self)

    def cell(self, *labels: str) -> Distribution:
        """The child of these label values, made at its first use."""
        cell = self._cells.get(labels)
        if cell is None:
            cell = self._cells[labels] = Distribution(self._buckets)
        return cell

    def observe(self, value: float) -> None:
        """Count a value of a histogram without labels."""
        self.cell().observe(value)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Called by a scrape."""
        family = HistogramMetricFamily(self.name, self.text, labels=self.label_names)
        for labels, cell in self._cells.items():
            counts = zip(self._shown, accumulate(cell.counts), strict=True)
            family.add_metric(labels, list(counts), cell.total)
        yield family


class Gauge(prometheus_client.Gauge):
    """prometheus-client's gauge, which also tells what the catalog says of it."""

    @property
    def name(self) -> str:
        """Its name."""
        name: str = self._name
        return name

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of its labels."""
        return tuple(self._labelnames)
