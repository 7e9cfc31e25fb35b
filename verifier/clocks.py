"""The two clocks: one that says how long ago, and one that says what day it is.

They are apart because the second may be corrected at any time: a late time step, a suspended
machine. How old a state is must not change by that; which dates are in the future must.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import msgspec


class Clocks(msgspec.Struct, frozen=True):
    """``steady`` measures ages and deadlines, ``wall`` tells dates and moments. Both in seconds.

    ``steady`` counts from an arbitrary beginning, is never set, and goes on while the machine is
    suspended. ``wall`` counts from the epoch.
    """

    steady: Callable[[], float]
    wall: Callable[[], float]

    def epoch(self) -> float:
        """What ``wall`` said, by now's correction, when ``steady`` was 0."""
        return self.wall() - self.steady()


def system_clocks() -> Clocks:
    """Those of this machine."""
    # CLOCK_MONOTONIC stands still in suspend, and what was fresh before would pass for fresh.
    return Clocks(partial(time.clock_gettime, time.CLOCK_BOOTTIME), time.time)
