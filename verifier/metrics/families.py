"""The numbers of processes as plain data: taken from a registry, added up, shown as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from prometheus_client import ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample


class Family(msgspec.Struct, frozen=True, array_like=True):
    """A metric with all its samples: the name of each, its labels, its value."""

    name: str
    kind: str
    text: str
    samples: list[tuple[str, dict[str, str], float]]

    @property
    def cumulative(self) -> bool:
        """Whether it only ever grows, and so outlives the process that counted."""
        return self.kind in {"counter", "histogram"}

    def of_worker(self, worker: str) -> Family:
        """The family among those of other processes.

        What describes one process, its gauges and what the kernel counts for it, gets the label
        ``worker`` unless it has one; the rest is about the service.
        """
        if self.kind != "gauge" and not self.name.startswith("process_"):
            return self
        labelled = [
            (name, {"worker": worker} | labels, value) for name, labels, value in self.samples
        ]
        return Family(self.name, self.kind, self.text, labelled)


def taken(registry: Collector) -> list[Family]:
    """What the metrics of a registry or collector show now."""
    return [
        Family(
            metric.name,
            metric.type,
            metric.documentation,
            [(sample.name, sample.labels, sample.value) for sample in metric.samples],
        )
        for metric in registry.collect()
    ]


def of_process(pid: int) -> list[Family]:
    """What the kernel says about a process: nothing when it is gone.

    Counting descriptors takes 7 ms where there are 10,000: too long for a worker's event loop.
    """
    return taken(ProcessCollector(pid=lambda: pid, registry=None))


def added(families: Iterable[Family]) -> list[Family]:
    """One family of each name: samples of the same name and labels are added up."""
    kinds: dict[str, Family] = {}
    sums: dict[str, dict[tuple[object, ...], tuple[str, dict[str, str], float]]] = {}
    for family in families:
        kinds.setdefault(family.name, family)
        known = sums.setdefault(family.name, {})
        for name, labels, value in family.samples:
            key = (name, *sorted(labels.items()))
            # An info says 1, however many say it.
            before = known[key][2] if key in known and family.kind != "info" else 0.0
            known[key] = name, labels, before + value
    return [
        Family(name, family.kind, family.text, list(sums[name].values()))
        for name, family in kinds.items()
    ]


def rendered(families: Sequence[Family]) -> bytes:
    """Families in the Prometheus text format."""
    return generate_latest(_Given(families))


class _Given(Collector):
    """A collector of what is known already."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            metric = Metric(family.name, family.text, family.kind)
            metric.samples = [Sample(*sample) for sample in family.samples]
            yield metric
