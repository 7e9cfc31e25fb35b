"""The plain integers behind the catalog."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Histogram as Theirs

from verifier.metrics import Histogram

BOUNDS = (0.5, 1, 2)


@pytest.mark.parametrize("values", [[], [0.5], [0.2, 0.5, 0.500001, 1.0, 2.0, 2.1, 1e9], [-1.0]])
def test_a_histogram_shows_what_the_librarys_does(values: list[float]) -> None:
    """The same values give the same text as prometheus-client's own histogram."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    histogram = Histogram(ours, "seconds", "How long.", BOUNDS, ("kind",))
    reference = Theirs("seconds", "How long.", ["kind"], buckets=BOUNDS, registry=theirs)
    histogram.cell("a")
    reference.labels("a")
    for value in values:
        histogram.cell("a").observe(value)
        reference.labels("a").observe(value)
    # The library adds the moment of creation of each, which a sum of several would not have.
    expected = generate_latest(theirs).decode().split("# HELP seconds_created")[0]
    assert generate_latest(ours).decode() == expected


def test_a_histogram_without_labels_is_there_from_the_start() -> None:
    """Its zeros are shown before the first value, so that a rate over it has a beginning."""
    registry = CollectorRegistry()
    Histogram(registry, "keys", "How many.", BOUNDS)
    assert "keys_count 0.0" in generate_latest(registry).decode()
