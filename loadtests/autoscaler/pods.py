"""What a pod carries and costs, and the pods that there are at a moment."""

from __future__ import annotations

from bisect import bisect_right
from math import ceil
from pathlib import Path
from typing import NamedTuple

import msgspec


class PodModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One pod; the defaults are round numbers to try things with, not measurements.

    ``capacity`` is requests a second that it answers within the latency budget: what it admits.
    ``cpu_per_request`` and ``cpu_per_refusal`` are seconds of CPU; ``cores`` is both what it
    requests and its limit. It is ready ``start_seconds`` after it was asked for, and is paid for
    ``drain_seconds`` longer than it takes requests.
    """

    capacity: float = 8_000.0
    cpu_per_request: float = 100e-6
    cpu_per_refusal: float = 10e-6
    cores: float = 1.0
    start_seconds: float = 40.0
    drain_seconds: float = 15.0

    def __post_init__(self) -> None:
        if self.capacity <= 0:
            raise ValueError(f"capacity: expected more than 0 requests/s, got {self.capacity}")
        if not 0 <= self.cpu_per_refusal < self.cpu_per_request:
            raise ValueError(
                f"cpu_per_refusal: expected 0 or more and less than cpu_per_request "
                f"({self.cpu_per_request} s), got {self.cpu_per_refusal} s"
            )
        if self.capacity * self.cpu_per_request > self.cores * (1 + 1e-9):
            raise ValueError(
                f"capacity: expected at most cores ÷ cpu_per_request "
                f"({self.cores / self.cpu_per_request:.0f} requests/s), got {self.capacity}"
            )
        if self.start_seconds < 0 or self.drain_seconds < 0:
            raise ValueError(
                f"start_seconds, drain_seconds: expected 0 or more, got {self.start_seconds} "
                f"and {self.drain_seconds}"
            )

    def served(self, offered: float) -> float:
        """Requests a second that it answers of so many; it refuses the others.

        It never answers more than its capacity, and fewer when refusing takes the CPU.
        """
        if offered <= self.capacity:
            return offered
        free = self.cores - offered * self.cpu_per_refusal
        possible = free / (self.cpu_per_request - self.cpu_per_refusal)
        return max(0.0, min(self.capacity, possible))

    def cpu(self, offered: float) -> float:
        """Cores that it uses when so many are offered a second."""
        served = self.served(offered)
        used = served * self.cpu_per_request + (offered - served) * self.cpu_per_refusal
        return min(self.cores, used)


class BadModel(Exception):
    """A file holds no pod model; the message names the field."""


def read_model(file: Path) -> PodModel:
    """A pod model, as ``capacity plan --pod`` writes it. BadModel when it is none."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=PodModel)
    except OSError as error:
        raise BadModel(f"{file}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise BadModel(f"{file}: {error}; expected what capacity plan --pod has written") from error


class Pod(NamedTuple):
    """Seconds at which it was asked for, and from which on it takes requests."""

    started: int
    ready_at: int


class Fleet:
    """All pods, the oldest first; it begins with so many that are ready."""

    def __init__(self, model: PodModel, begin: int, pods: int) -> None:
        self._start = ceil(model.start_seconds)
        self._drain = ceil(model.drain_seconds)
        # Long ago, so that none of them counts as starting.
        self.pods = [Pod(begin - 86_400, begin - 86_400)] * pods
        self._ready_at = [pod.ready_at for pod in self.pods]
        self._leaving: list[int] = []

    def __len__(self) -> int:
        return len(self.pods)

    def ready(self, now: int) -> int:
        """How many take requests."""
        return bisect_right(self._ready_at, now)

    def paid(self, now: int) -> int:
        """How many there are: starting, ready and draining."""
        self._leaving = [until for until in self._leaving if until > now]
        return len(self.pods) + len(self._leaving)

    def scale(self, now: int, wanted: int) -> None:
        """Start pods, or end the youngest; those that are not ready yet are gone at once."""
        ready = self.ready(now)
        added = wanted - len(self.pods)
        if added > 0:
            self.pods += [Pod(now, now + self._start)] * added
        else:
            self._leaving += [now + self._drain] * (ready - min(ready, wanted))
            del self.pods[wanted:]
        self._ready_at = [pod.ready_at for pod in self.pods]
