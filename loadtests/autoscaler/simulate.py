"""A load against pods that an autoscaler starts and ends, second by second."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from loadtests.autoscaler.behavior import Behavior
from loadtests.autoscaler.hpa import SYNC, Autoscaler, Bounds
from loadtests.autoscaler.load import Load
from loadtests.autoscaler.pods import Fleet, PodModel
from loadtests.autoscaler.signals import Pipeline, Schedule, Signals, enough

# Seconds of the first rate before the load begins: metrics and windows fill, and nothing counts.
_SETTLE = 900


class Setup(msgspec.Struct, frozen=True):
    """What stays the same whatever the autoscaler looks at.

    ``target`` is the share of a pod's capacity that shall be used; ``outages`` are seconds, from
    and up to, without metrics of pods.
    """

    model: PodModel = PodModel()
    bounds: Bounds = Bounds()
    behavior: Behavior = Behavior()
    target: float = 0.7
    pipeline: Pipeline = Pipeline()
    outages: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.target <= 1:
            raise ValueError(f"target: expected more than 0 and at most 1, got {self.target}")


class Trace(msgspec.Struct):
    """One number for each second: requests a second, and pods."""

    offered: list[float] = msgspec.field(default_factory=list)
    served: list[float] = msgspec.field(default_factory=list)
    refused: list[float] = msgspec.field(default_factory=list)
    capacity: list[float] = msgspec.field(default_factory=list)
    ready: list[int] = msgspec.field(default_factory=list)
    paid: list[int] = msgspec.field(default_factory=list)


class Outcome(msgspec.Struct, frozen=True):
    """What came of it.

    ``seconds_to_capacity`` is the longest time from when more was offered than the ready pods
    carry until they carried it, 0 when they always did. It is None when load fell before they did:
    ``seconds_short`` then says how long that took. ``refused`` is a share of all requests.
    """

    signal: str
    seconds_to_capacity: int | None
    seconds_short: int
    refused: float
    pod_hours: float
    most_pods: int
    changes: int


class Run(msgspec.Struct, frozen=True):
    """One signal's."""

    outcome: Outcome
    trace: Trace


def simulate(
    load: Load, signal: Sequence[str], setup: Setup, schedule: Schedule | None = None
) -> Run:
    """Replay a load for an autoscaler with these metrics; ``cron`` is one that needs a schedule."""
    model = setup.model
    fleet = Fleet(model, -_SETTLE, enough(load.rates[0], model, setup.target, setup.bounds))
    autoscaler = Autoscaler(setup.bounds, setup.behavior)
    signals = Signals(model, setup.target, setup.pipeline, schedule, setup.outages, -_SETTLE)
    trace = Trace()
    changes = 0
    for second in range(-_SETTLE, len(load.rates)):
        if second % SYNC == 0:
            before = len(fleet)
            wanted = [
                signals.wanted(name, second, fleet.pods, setup.behavior.tolerance)
                for name in signal
            ]
            fleet.scale(second, autoscaler.sync(second, before, wanted))
            changes += second >= 0 and len(fleet) != before
        rate = load.rates[max(second, 0)]
        ready = fleet.ready(second)
        # The oldest pods end last, so there is always one that is ready.
        share = rate / ready
        served = model.served(share)
        signals.meter.add(served, share, model.cpu(share))
        if second >= 0:
            trace.offered.append(rate)
            trace.served.append(served * ready)
            trace.refused.append((share - served) * ready)
            trace.capacity.append(model.capacity * ready)
            trace.ready.append(ready)
            trace.paid.append(fleet.paid(second))
    return Run(_outcome("+".join(signal), trace, changes), trace)


def _outcome(signal: str, trace: Trace, changes: int) -> Outcome:
    seconds, reached = _longest_shortage(trace)
    return Outcome(
        signal=signal,
        seconds_to_capacity=seconds if reached else None,
        seconds_short=seconds,
        refused=sum(trace.refused) / max(sum(trace.offered), 1e-9),
        pod_hours=sum(trace.paid) / 3_600,
        most_pods=max(trace.paid),
        changes=changes,
    )


def _longest_shortage(trace: Trace) -> tuple[int, bool]:
    """Seconds of the longest time in which some were refused, and whether capacity ended it."""
    longest, reached = 0, True
    begin: int | None = None
    for second, refused in enumerate([*trace.refused, 0.0]):
        if refused > 0 and begin is None:
            begin = second
        elif refused <= 0 and begin is not None:
            if second - begin > longest:
                longest = second - begin
                # What was offered a second earlier would be carried now.
                reached = trace.capacity[second : second + 1] >= [trace.offered[second - 1]]
            begin = None
    return longest, reached


def least_pod_hours(load: Load, setup: Setup) -> tuple[float, float]:
    """Pod-hours of who starts each pod when it is needed, and of who never ends one."""
    pods = [enough(rate, setup.model, setup.target, setup.bounds) for rate in load.rates]
    return sum(pods) / 3_600, max(pods) * len(pods) / 3_600
