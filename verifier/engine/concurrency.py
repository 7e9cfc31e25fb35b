"""Concurrency: how many reads may be in flight, by what their latency tells of the databases.

A database that is the bottleneck answers no more for being asked more at once, only later. What
waits in the worker instead leaves in fewer, larger reads, and people's before bulk's. The limit
follows the gradient between the least latency and that of now, as in Netflix' concurrency-limits
("Gradient") and, with these parameters, in Envoy's filter "adaptive concurrency":

    gradient = (1 + 0.25) × least ÷ now, from 0.5 to 2
    limit = gradient × limit + √(gradient × limit), from 3 to as many as there are connections

``now`` is the median of at least 5 reads within at least 0.1 s. ``least`` is that of 20 reads
beside which at most 2 others run, at the start and again after a minute (15 % more or less, so
that workers do not measure each other). Reads differ in size, so their latency counts by what they
cost. It tells of a database only while the event loop is on time: otherwise the CPU is the
bottleneck, nothing is learnt, and admission.py refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from random import uniform
from statistics import median

from verifier.engine.lanes import WORTH_A_READ

_BUFFER = 0.25
_LOWEST, _HIGHEST = 0.5, 2.0
FEWEST = 3
_WINDOW, _ENOUGH = 0.1, 5
# How many reads show the least latency, how long to wait for them, and when to look again.
READS, _PATIENCE, AGAIN, _JITTER = 20, 1.0, 60.0, 0.15
# A part of a read's time by which the event loop may have been late.
_LATE = 0.25
# Clocks have an end to what they tell apart.
_SHORTEST = 1e-6


class Concurrency:
    """A limit of at most ``most`` reads; ``clock`` is steady, ``lag`` the event loop's (seconds).

    ``limit`` is for whoever begins reads; who has ended one books it.
    """

    def __init__(
        self, most: int, clock: Callable[[], float], lag: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.limit = most
        self._most = most
        self._fewest = min(FEWEST, most)
        self._clock = clock
        self._lag = lag
        # The limit with its fraction.
        self._exact = float(most)
        # Seconds by unit of cost.
        self._least: float | None = None
        self._samples: list[float] = []
        self._measuring = False
        self._since = clock()
        self._again = self._since

    def book(self, seconds: float, keys: int) -> None:
        """A read of so many keys took so long, and has succeeded."""
        now = self._clock()
        # Those that began earlier ran beside others than do now.
        if now - seconds >= self._since and self._lag() <= _LATE * seconds:
            self._samples.append(max(seconds, _SHORTEST) / (WORTH_A_READ + keys))
        if self._measuring:
            if len(self._samples) >= READS:
                self._least = median(self._samples)
            elif now < self._since + _PATIENCE:
                return
            self._measuring = False
            self._again = now + AGAIN * uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret
            self._set(self._exact, now)
        elif now >= self._again:
            self._measuring = True
            self._set(self._exact, now)
            self.limit = self._fewest
        elif now >= self._since + _WINDOW and len(self._samples) >= _ENOUGH:
            self._follow(now)

    def _follow(self, now: float) -> None:
        exact = float(self._most)
        if self._least is not None:
            gradient = (1 + _BUFFER) * self._least / median(self._samples)
            scaled = min(max(gradient, _LOWEST), _HIGHEST) * self._exact
            exact = scaled + sqrt(scaled)
        self._set(min(max(exact, self._fewest), self._most), now)

    def _set(self, exact: float, now: float) -> None:
        self._exact = exact
        self.limit = int(exact)
        self._samples.clear()
        self._since = now
