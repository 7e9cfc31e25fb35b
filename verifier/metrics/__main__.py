"""The table of docs/metrics.md: ``python -m verifier.metrics``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain

from verifier.metrics.catalog import Metrics, SupervisorMetrics
from verifier.metrics.cells import Gauge, Histogram, Tally
from verifier.metrics.families import Family, of_process, taken

_SUFFIX = {"counter": "_total", "info": "_info"}


def table() -> str:
    """All metrics as a Markdown table: name, type, labels, meaning."""
    return "\n".join(["| metric | type | labels | what it says |", "|---|---|---|---|", *_rows()])


def _rows() -> Iterator[str]:
    worker, supervisor = Metrics(), SupervisorMetrics()
    labels = {
        entry.name: entry.label_names
        for entry in (*vars(worker).values(), *vars(supervisor).values())
        if isinstance(entry, Gauge | Histogram | Tally)
    }
    registries = taken(worker.registry), taken(supervisor.registry), of_process(os.getpid())
    for family in chain(*registries):
        names = labels.get(family.name) or _sampled(family)
        # The samples of an info are those of a gauge.
        kind = "gauge" if family.kind == "info" else family.kind
        yield (
            f"| `{family.name}{_SUFFIX.get(family.kind, '')}` | {kind} "
            f"| {' '.join(f'`{name}`' for name in names)} | {family.text} |"
        )


def _sampled(family: Family) -> list[str]:
    """The labels of a metric that the library brings, by its samples."""
    if family.kind == "histogram":
        return []
    return sorted({label for _, labels, _ in family.samples for label in labels})


if __name__ == "__main__":
    print(table())
