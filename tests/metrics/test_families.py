"""Numbers of several processes added up."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from verifier.metrics import Gauge, Histogram, Metrics, Tally
from verifier.metrics.families import Family, added, of_process, rendered, taken


def told(count: int, seconds: float, waiting: float) -> list[Family]:
    """What a process tells that counted so many, one of which took so long."""
    registry = CollectorRegistry()
    Tally(registry, "answers", "Answers.", ("verdict",)).add("match", count=count)
    Histogram(registry, "seconds", "How long.", (1, 2)).observe(seconds)
    Gauge("waiting", "Who waits.", registry=registry).set(waiting)
    return taken(registry)


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Have no garbage collected meanwhile, which is counted too."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
def test_numbers_survive_the_way() -> None:
    """Taken, sent, added to nothing and rendered, a process's numbers are its own text."""
    metrics = Metrics()
    metrics.answers.add("verify", 'a "label"\n')
    metrics.query_seconds.observe(0.01)
    packed = msgspec.msgpack.encode(taken(metrics.registry))
    sent = msgspec.msgpack.decode(packed, type=list[Family])
    assert rendered(added(sent)) == generate_latest(metrics.registry)


def test_sums_and_workers() -> None:
    """Counters and histograms are added up; gauges stay apart by worker."""
    parts = [told(3, 0.5, 7), told(4, 1.5, 9)]
    labelled = [
        family.of_worker(str(worker)) for worker, part in enumerate(parts) for family in part
    ]
    lines = rendered(added(labelled)).decode().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        'answers_total{verdict="match"} 7.0',
        'seconds_bucket{le="1.0"} 1.0',
        'seconds_bucket{le="2.0"} 2.0',
        'seconds_bucket{le="+Inf"} 2.0',
        "seconds_count 2.0",
        "seconds_sum 2.0",
        'waiting{worker="0"} 7.0',
        'waiting{worker="1"} 9.0',
    ]


def test_an_info_is_not_added_up() -> None:
    """Two processes of one build show one build, with the value 1."""
    families = [each for each in taken(Metrics().registry) if each.kind == "info"]
    assert added([*families, *families]) == families


def test_a_worker_label_stays() -> None:
    """What the supervisor tells about a worker is not told about the supervisor."""
    registry = CollectorRegistry()
    Gauge("up", "Up.", ("worker",), registry=registry).labels("3").set(1)
    (family,) = taken(registry)
    assert family.of_worker("supervisor") == family


def test_a_process_and_one_that_is_gone() -> None:
    """What the kernel says is about the process asked for, and nothing when there is none."""
    names = {family.name for family in of_process(os.getpid())}
    assert {"process_cpu_seconds", "process_open_fds", "process_resident_memory_bytes"} <= names
    assert of_process(0) == []
