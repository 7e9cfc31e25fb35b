"""Laps: how long each step of one question took, for whoever asks for it."""

from __future__ import annotations

from collections.abc import Callable


class Laps:
    """The seconds of each step, from the end of the one before; ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ended = clock()
        self.seconds: dict[str, float] = {}

    def end(self, step: str) -> None:
        """A step has ended."""
        now = self._clock()
        self.seconds[step] = now - self._ended
        self._ended = now
