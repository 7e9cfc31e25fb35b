"""Concurrency: how many reads may be in flight, by what their latency tells of the databases.

A database that is the bottleneck answers no more for being asked more at once, only later. What
waits in the worker instead leaves in fewer, larger reads, and people's before bulk's. The limit
follows the gradient between the least latency and that of now, as in Netflix' concurrency-limits
("Gradient", with its tolerance of 2, its headroom and its smoothing):

    gradient = 2 × least ÷ now, from 0.5 to 1
    limit = 0.8 × limit + 0.2 × (gradient × limit + √limit), at most as many as may ever run

so that it never falls below 4. ``now`` is the median of at least 5 reads within at least 0.1 s.
``least`` is kept for reads of about the same number of keys each, since a large one takes longer
and is not slow for that; no reads are held back to measure it. It falls at once and rises by at
most 2 % a minute: a rush must not pass for how fast the databases are, and one that has become
slower for good is asked by few but large reads until that has been learnt. While the event loop is
late, latency tells of the CPU: nothing is concluded then, and admission.py refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, sqrt
from statistics import median

_TOLERANCE, _LOWEST, _SMOOTHING = 2.0, 0.5, 0.2
_WINDOW, _ENOUGH = 0.1, 5
_MINUTE, _RISE = 60.0, 1.02
# The event loop's lateness that leaves nothing to conclude, as a part of a read's time.
_LATE = 0.25
# What clocks do not tell apart, in seconds.
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
        self._clock = clock
        self._lag = lag
        # The limit with its fraction.
        self._exact = float(most)
        # Seconds by size: the least that is known, and the least since the minute began.
        self._least: dict[int, float] = {}
        self._lately: dict[int, float] = {}
        self._minute = clock()
        # Of the reads since the window began: the seconds, and how many times the least that was.
        self._seconds: list[float] = []
        self._ratios: list[float] = []
        self._began = clock()

    def book(self, seconds: float, keys: int) -> bool:
        """A read of so many keys took so long; whether the limit may be another one now."""
        now = self._clock()
        if seconds < _SHORTEST:
            seconds = _SHORTEST
        size = keys.bit_length()
        # No min(): this runs for every read, and that costs three times as much.
        if seconds < self._lately.get(size, inf):
            self._lately[size] = seconds
        least = self._least.get(size, inf)
        if seconds < least:
            least = self._least[size] = seconds
        self._seconds.append(seconds)
        self._ratios.append(seconds / least)
        if now >= self._minute + _MINUTE:
            for each, lately in self._lately.items():
                self._least[each] = min(lately, _RISE * self._least[each])
            self._lately.clear()
            self._minute = now
        if now < self._began + _WINDOW or len(self._ratios) < _ENOUGH:
            return False
        if self._lag() <= _LATE * median(self._seconds):
            self._follow(median(self._ratios))
        self._seconds.clear()
        self._ratios.clear()
        self._began = now
        return True

    def _follow(self, ratio: float) -> None:
        gradient = min(max(_TOLERANCE / ratio, _LOWEST), 1.0)
        wanted = gradient * self._exact + sqrt(self._exact)
        exact = (1 - _SMOOTHING) * self._exact + _SMOOTHING * wanted
        self._exact = min(exact, self._most)
        self.limit = int(self._exact)
