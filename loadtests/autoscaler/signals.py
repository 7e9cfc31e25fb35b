"""What the autoscaler sees: the load as metrics tell it, late and averaged, or a schedule.

``served`` and ``offered`` are counters of each pod that Prometheus scrapes and an adapter serves (a
Pods metric): requests answered, and answered or refused. ``cpu`` is CPU in per cent of what the pod
requests (a Resource metric of the metrics server). ``cron`` is a number of pods by the time of day
(an External metric, as KEDA has one).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import ceil
from types import MappingProxyType

import msgspec

from loadtests.autoscaler.hpa import Bounds
from loadtests.autoscaler.load import DAY, Load
from loadtests.autoscaler.pods import Pod, PodModel
from loadtests.autoscaler.replicas import (
    Sample,
    Tolerance,
    by_average,
    by_total,
    by_utilization,
    unready,
)

METRICS = ("served", "offered", "cpu")
CRON = "cron"

# A plan has one number of pods for each half hour, which are there five minutes before.
_SLOT, _AHEAD = 1_800, 300
_AT = re.compile(r"(\d{1,2}):(\d{2})=(\d+)")

# Seconds of the day and numbers of pods, in order; the last one lasts until the first.
Schedule = Sequence[tuple[int, int]]


class Pipeline(msgspec.Struct, frozen=True):
    """How a metric comes to the autoscaler: seconds of its ``window``, and how late it is read.

    A sample is taken every ``interval`` seconds and can be read ``delay`` seconds later.
    """

    interval: int = 15
    window: int = 60
    delay: int = 15

    def __post_init__(self) -> None:
        if self.interval < 1 or self.window < self.interval or self.delay < 0:
            raise ValueError(
                f"interval, window, delay: expected 1 ≤ interval ≤ window and delay ≥ 0, "
                f"got {self.interval}, {self.window} and {self.delay} s"
            )

    def newest(self, now: int) -> int:
        """The second up to, and without, which the newest sample tells."""
        return (now - self.delay) // self.interval * self.interval


# The metrics server's --metric-resolution is 15 s, and what it serves is of one such interval.
OF_CPU = Pipeline(interval=15, window=15, delay=15)


class Meter:
    """What one ready pod has done, second by second; load is spread evenly, so all do the same."""

    def __init__(self, begin: int) -> None:
        self._begin = begin
        self._totals: Mapping[str, list[float]] = MappingProxyType({m: [0.0] for m in METRICS})

    def add(self, served: float, offered: float, cpu: float) -> None:
        """One second more: requests, and cores."""
        for name, value in zip(METRICS, (served, offered, cpu), strict=True):
            totals = self._totals[name]
            totals.append(totals[-1] + value)

    def total(self, name: str, begin: int, end: int) -> float:
        """What a pod did that was ready from second ``begin`` up to, and without, ``end``."""
        totals = self._totals[name]
        first, last = (min(max(0, at - self._begin), len(totals) - 1) for at in (begin, end))
        return totals[last] - totals[min(first, last)]


class Signals:
    """Numbers of pods that metrics ask for, while a simulation runs.

    ``target`` is the share of a pod's capacity that shall be used. ``outages`` are seconds, from
    and up to, in which no metric of pods can be had.
    """

    def __init__(
        self,
        model: PodModel,
        target: float,
        pipeline: Pipeline,
        schedule: Schedule | None,
        outages: Sequence[tuple[int, int]],
        begin: int,
    ) -> None:
        self.meter = Meter(begin)
        self._target = target
        self._request = round(model.cores * 1e3)
        self._per_pod = round(target * model.capacity * 1e3)
        # The same load that the other metrics aim at.
        cpu = target * model.capacity * model.cpu_per_request / model.cores
        self._per_cent = max(1, round(100 * cpu))
        self._pipelines = {"served": pipeline, "offered": pipeline, "cpu": OF_CPU}
        self._schedule = schedule
        self._outages = outages

    def wanted(self, name: str, now: int, pods: Sequence[Pod], tolerance: Tolerance) -> int | None:
        """How many pods one asks for; None when it cannot be had."""
        if name == CRON:
            assert self._schedule is not None
            return by_total(len(pods), at(self._schedule, now) * 1_000, 1_000, tolerance)
        if any(begin <= now < end for begin, end in self._outages):
            return None
        # Pods of the same age have the same metric.
        known = {pod: self._sample(name, now, pod) for pod in set(pods)}
        samples = [known[pod] for pod in pods]
        if name == "cpu":
            return by_utilization(len(pods), samples, self._per_cent, tolerance)
        return by_average(len(pods), samples, self._per_pod, tolerance)

    def _sample(self, name: str, now: int, pod: Pod) -> Sample:
        pipeline = self._pipelines[name]
        end = pipeline.newest(now)
        ready = pod.ready_at <= now
        late = name == "cpu" and unready(
            now,
            started=pod.started,
            ready=ready,
            changed=pod.ready_at if ready else pod.started,
            sampled=end,
            window=pipeline.window,
        )
        # A rate takes two samples.
        if end - pipeline.interval < pod.started:
            return Sample(None, late, self._request)
        begin = max(end - pipeline.window, pod.ready_at)
        mean = self.meter.total(name, begin, end) / pipeline.window
        return Sample(round(mean * 1e3), late, self._request)


def at(schedule: Schedule, second: int) -> int:
    """The pods of a schedule at a second, which may be of the next day."""
    passed = [pods for begin, pods in schedule if begin <= second % DAY]
    return passed[-1] if passed else schedule[-1][1]


def planned(load: Load, model: PodModel, target: float, bounds: Bounds) -> Schedule | None:
    """A schedule for what was expected of a load; None when nothing was."""
    if load.planned is None:
        return None
    slots = []
    for begin in range(0, len(load.planned), _SLOT):
        most = max(load.planned[begin : begin + _SLOT])
        slots.append((max(0, begin - _AHEAD), enough(most, model, target, bounds)))
    return slots


def enough(rate: float, model: PodModel, target: float, bounds: Bounds) -> int:
    """Pods for a rate (requests a second), within the bounds."""
    # As many as the metrics ask for, which are whole thousandths.
    pods = ceil(round(rate * 1e3) / round(target * model.capacity * 1e3))
    return min(max(pods, bounds.least), bounds.most)


class BadSchedule(Exception):
    """A schedule cannot be read; the message says what was expected."""


def read_schedule(text: str) -> Schedule:
    """``08:00=12,18:30=4`` as a schedule. BadSchedule when it is none."""
    found: list[tuple[int, int]] = []
    for part in text.split(","):
        given = _AT.fullmatch(part.strip())
        if given is None or int(given[1]) > 23 or int(given[2]) > 59:
            raise BadSchedule(f"--cron: expected HH:MM=PODS,…, got {part!r}")
        found.append((int(given[1]) * 3_600 + int(given[2]) * 60, int(given[3])))
    if [begin for begin, _ in found] != sorted({begin for begin, _ in found}):
        raise BadSchedule(f"--cron: expected times in order, each once, got {text!r}")
    return found
