"""How fast an autoscaler may change the number of pods: the ``behavior`` of its manifest.

Follows "Configurable scaling behavior" in Kubernetes' documentation and, for what counts within a
period, pkg/controller/podautoscaler/horizontal.go of Kubernetes 1.33. Names are the manifest's, so
that its JSON can be read as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Literal

import msgspec

from loadtests.autoscaler.replicas import Tolerance

# Limits of the API, seconds.
_LONGEST_PERIOD = 1_800
_LONGEST_WINDOW = 3_600


class Policy(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """At most ``value`` pods, or per cent of the pods, within ``period_seconds``."""

    type: Literal["Pods", "Percent"]
    value: int
    period_seconds: int

    def __post_init__(self) -> None:
        if self.value <= 0:
            raise ValueError(f"value: expected more than 0, got {self.value}")
        if not 0 < self.period_seconds <= _LONGEST_PERIOD:
            raise ValueError(
                f"periodSeconds: expected 1 to {_LONGEST_PERIOD}, got {self.period_seconds}"
            )


class Rules(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """One direction; the defaults are those for scaling up.

    Of several policies ``select_policy`` takes the one that allows most (Max) or least (Min).
    """

    stabilization_window_seconds: int = 0
    policies: tuple[Policy, ...] = (Policy("Percent", 100, 15), Policy("Pods", 4, 15))
    select_policy: Literal["Max", "Min", "Disabled"] = "Max"
    tolerance: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.stabilization_window_seconds <= _LONGEST_WINDOW:
            raise ValueError(
                f"stabilizationWindowSeconds: expected 0 to {_LONGEST_WINDOW}, "
                f"got {self.stabilization_window_seconds}"
            )
        if not self.policies:
            raise ValueError("policies: expected at least one, got none")
        if self.tolerance < 0:
            raise ValueError(f"tolerance: expected 0 or more, got {self.tolerance}")


class DownRules(Rules, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The same with the defaults for scaling down."""

    stabilization_window_seconds: int = 300
    policies: tuple[Policy, ...] = (Policy("Percent", 100, 15),)


class Behavior(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Both directions."""

    scale_up: Rules = Rules()
    scale_down: DownRules = DownRules()

    @property
    def tolerance(self) -> Tolerance:
        """Of both directions."""
        return Tolerance(self.scale_up.tolerance, self.scale_down.tolerance)

    @property
    def longest_period(self) -> int:
        """Seconds for which a change has to be remembered."""
        both = (*self.scale_up.policies, *self.scale_down.policies)
        return max(policy.period_seconds for policy in both)


class BadBehavior(Exception):
    """A file holds no behavior; the message names the field."""


def read(file: Path) -> Behavior:
    """A manifest's ``behavior`` as JSON. BadBehavior when it is none."""
    try:
        # Kubernetes writes a tolerance as a string.
        found = msgspec.json.decode(file.read_bytes())
        return msgspec.convert(found, Behavior, strict=False)
    except OSError as error:
        raise BadBehavior(f"{file}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise BadBehavior(f"{file}: {error}") from error


class History:
    """Changes of the number of pods, as long as a policy asks for them."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._changes: list[tuple[float, int]] = []

    def add(self, now: float, change: int) -> None:
        """Remember a change, positive when pods were added."""
        kept = [each for each in self._changes if each[0] > now - self._seconds]
        self._changes = [*kept, (now, change)]

    def within(self, now: float, seconds: float) -> int:
        """Pods added less pods removed in the last so many seconds."""
        return sum(change for moment, change in self._changes if moment > now - seconds)


def up_limit(rules: Rules, current: int, now: float, history: History) -> int:
    """The most pods that may be there now, at least ``current``."""

    def allowed(policy: Policy, before: int) -> int:
        if policy.type == "Pods":
            return before + policy.value
        return ceil(before * (1 + policy.value / 100))

    select = min if rules.select_policy == "Min" else max
    return max(current, _limit(rules, current, now, history, allowed, select))


def down_limit(rules: Rules, current: int, now: float, history: History) -> int:
    """The fewest pods that may be there now, at most ``current``."""

    def allowed(policy: Policy, before: int) -> int:
        if policy.type == "Pods":
            return before - policy.value
        # The rest is dropped, so 10 % of 72 pods are 8.
        return int(before * (1 - policy.value / 100))

    select = max if rules.select_policy == "Min" else min
    return min(current, _limit(rules, current, now, history, allowed, select))


def _limit(
    rules: Rules,
    current: int,
    now: float,
    history: History,
    allowed: Callable[[Policy, int], int],
    select: Callable[..., int],
) -> int:
    if rules.select_policy == "Disabled":
        return current
    # A policy counts from how many there were when its period began.
    return int(
        select(
            [
                allowed(policy, current - history.within(now, policy.period_seconds))
                for policy in rules.policies
            ]
        )
    )
