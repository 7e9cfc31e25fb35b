"""One round of the HorizontalPodAutoscaler's controller, and what it remembers of earlier ones."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from loadtests.autoscaler.behavior import Behavior, History, down_limit, up_limit

# Seconds between two rounds: --horizontal-pod-autoscaler-sync-period.
SYNC = 15


class Bounds(msgspec.Struct, frozen=True):
    """The fewest and the most pods."""

    least: int = 3
    most: int = 60

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise ValueError(f"min, max: expected 1 ≤ min ≤ max, got {self.least} and {self.most}")


class Autoscaler:
    """The controller of one autoscaler; moments are seconds and ascend."""

    def __init__(self, bounds: Bounds, behavior: Behavior) -> None:
        self._bounds = bounds
        self._behavior = behavior
        self._history = History(behavior.longest_period)
        self._recommended: list[tuple[float, int]] = []

    def sync(self, now: float, current: int, wanted: Sequence[int | None]) -> int:
        """The number of pods from now on.

        ``wanted`` has what each metric asks for, None when it cannot be had.
        """
        if not self._recommended:
            self._recommended.append((now, current))
        desired = self._desired(now, current, wanted)
        if desired != current:
            self._history.add(now, desired - current)
        return desired

    def _desired(self, now: float, current: int, wanted: Sequence[int | None]) -> int:
        if current > self._bounds.most:
            return self._bounds.most
        if current < self._bounds.least:
            return self._bounds.least
        known = [each for each in wanted if each is not None]
        # What a metric that cannot be had would have asked for may be more.
        if not known or (len(known) < len(wanted) and max(known) < current):
            return current
        return self._limited(now, current, self._stabilized(now, current, max(known)))

    def _stabilized(self, now: float, current: int, desired: int) -> int:
        """The smallest change that recommendations of both windows agree on."""
        up = self._behavior.scale_up.stabilization_window_seconds
        down = self._behavior.scale_down.stabilization_window_seconds
        kept = [each for each in self._recommended if each[0] > now - max(up, down)]
        floor = min([desired, *(pods for moment, pods in kept if moment > now - up)])
        ceiling = max([desired, *(pods for moment, pods in kept if moment > now - down)])
        self._recommended = [*kept, (now, desired)]
        return min(max(current, floor), ceiling)

    def _limited(self, now: float, current: int, desired: int) -> int:
        """As far towards it as policies and bounds let go."""
        if desired > current:
            limit = up_limit(self._behavior.scale_up, current, now, self._history)
            return min(desired, limit, self._bounds.most)
        if desired < current:
            limit = down_limit(self._behavior.scale_down, current, now, self._history)
            return max(desired, limit, self._bounds.least)
        return current
