"""Slots: how many requests of a kind are served at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from verifier.errors import Unavailable
from verifier.metrics import Metrics


class Slots:
    """At most ``most`` requests of a kind, which a gauge counts."""

    def __init__(self, kind: str, most: int, metrics: Metrics) -> None:
        self._most = most
        self._taken = 0
        metrics.in_progress.labels(kind).set_function(lambda: self._taken)

    def check(self) -> None:
        """Raise Unavailable when all are taken."""
        if self._taken >= self._most:
            raise Unavailable("overloaded")

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a slot while the block runs; raises Unavailable when all are taken."""
        self.check()
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
