"""How many pods a metric asks for: the arithmetic of the HorizontalPodAutoscaler.

Follows "Algorithm details" in Kubernetes' documentation of the HorizontalPodAutoscaler, and where
that is silent pkg/controller/podautoscaler/replica_calculator.go of Kubernetes 1.33. Metrics are
whole numbers of thousandths, as there: its divisions drop the rest, so floats would round apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

import msgspec

# Defaults of the controller manager, seconds: --horizontal-pod-autoscaler-cpu-initialization-period
# and --horizontal-pod-autoscaler-initial-readiness-delay.
CPU_INITIALIZATION = 300.0
INITIAL_DELAY = 30.0


class Sample(msgspec.Struct, frozen=True):
    """What is known of one pod that is not being deleted.

    ``usage`` is its metric in thousandths, None when it has none. ``unready`` pods are set aside,
    whatever their metric says. ``request`` is the CPU that it asks for, in thousandths of a core.
    """

    usage: int | None
    unready: bool = False
    request: int = 1_000


class Tolerance(msgspec.Struct, frozen=True):
    """How far a ratio of metric to target may be from 1 and nothing is done, by direction."""

    up: float = 0.1
    down: float = 0.1

    def covers(self, ratio: float) -> bool:
        """Whether a ratio is close enough to 1."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


def by_utilization(
    current: int, pods: Sequence[Sample], target: int, tolerance: Tolerance
) -> int | None:
    """Pods for ``target`` per cent of the CPU that they request (a Resource metric).

    None when no ready pod has a metric.
    """

    def ratio(counted: Sequence[Sample]) -> float:
        used = sum(pod.usage or 0 for pod in counted)
        return used * 100 // sum(pod.request for pod in counted) / target

    def full(pod: Sample) -> int:
        return pod.request * max(100, target) // 100

    return _of_pods(current, pods, ratio, full, tolerance)


def by_average(
    current: int, pods: Sequence[Sample], target: int, tolerance: Tolerance
) -> int | None:
    """Pods for ``target`` thousandths of something in each of them (a Pods metric).

    None when no ready pod has a metric.
    """

    def ratio(counted: Sequence[Sample]) -> float:
        return sum(pod.usage or 0 for pod in counted) // len(counted) / target

    return _of_pods(current, pods, ratio, lambda _: target, tolerance)


def by_total(current: int, total: int, target: int, tolerance: Tolerance) -> int:
    """Pods for ``target`` thousandths a pod of one number (an External metric, AverageValue)."""
    if tolerance.covers(total / (target * current)):
        return current
    return ceil(total / target)


def unready(
    now: float,
    *,
    started: float,
    ready: bool,
    changed: float,
    sampled: float,
    window: float,
    cpu_initialization: float = CPU_INITIALIZATION,
    initial_delay: float = INITIAL_DELAY,
) -> bool:
    """Whether a pod's CPU is not counted yet: it is starting, or its metric is from before.

    All in seconds: the pod ``started``, its readiness last ``changed``, and its metric was
    ``sampled`` over a ``window`` that ends there.
    """
    if started + cpu_initialization > now:
        return not ready or sampled < changed + window
    return not ready and started + initial_delay > changed


def _of_pods(
    current: int,
    pods: Sequence[Sample],
    ratio: Callable[[Sequence[Sample]], float],
    full: Callable[[Sample], int],
    tolerance: Tolerance,
) -> int | None:
    """The part that both kinds of per-pod metrics share; ``full`` is a missing metric's worst."""
    counted = [pod for pod in pods if pod.usage is not None and not pod.unready]
    missing = [pod for pod in pods if pod.usage is None and not pod.unready]
    aside = [pod for pod in pods if pod.unready]
    if not counted:
        return None
    first = ratio(counted)
    if not missing and not (aside and first > 1.0):
        return current if tolerance.covers(first) else ceil(first * len(counted))
    # What is not known is taken for what speaks against a change.
    if first < 1.0:
        counted += [msgspec.structs.replace(pod, usage=full(pod)) for pod in missing]
    elif first > 1.0:
        counted += [msgspec.structs.replace(pod, usage=0) for pod in (*missing, *aside)]
    second = ratio(counted)
    if tolerance.covers(second) or first < 1.0 < second or second < 1.0 < first:
        return current
    wanted = ceil(second * len(counted))
    turned = wanted > current if second < 1.0 else wanted < current
    return current if turned else wanted
