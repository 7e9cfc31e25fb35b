"""Gaps: which numbers of the change log a follower has not seen. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from operator import attrgetter
from statistics import median_low
from typing import NamedTuple

# A gap is a transaction that is open, or was rolled back while an older one is still open. Beyond
# so many, neighbours become one, and what lies between them is heard again at each look.
MAX_GAPS = 4_096


class Gap(NamedTuple):
    """Numbers from ``first`` to ``last``, taken by transactions whose ids are below ``bound``.

    ``joined`` says that numbers are among them which have been seen.
    """

    first: int
    last: int
    bound: int
    joined: bool = False


class Gaps:
    """All numbers above ``top``, and the gaps ``below`` it in their order."""

    def __init__(self) -> None:
        self.top = 0
        self.below: list[Gap] = []

    def see(self, first: int, last: int, bound: int) -> None:
        """A run of numbers was seen while all ids that had been given out were below ``bound``."""
        if last > self.top:
            if first > self.top + 1:
                self.below.append(Gap(self.top + 1, first - 1, bound))
            self.top = last
            return
        at = bisect_right(self.below, first, key=attrgetter("first")) - 1
        gap = self.below[at]
        if not gap.joined:
            parts = gap._replace(last=first - 1), gap._replace(first=last + 1)
            self.below[at : at + 1] = [part for part in parts if part.first <= part.last]

    def end(self, ended: int) -> None:
        """All transactions whose ids are below ``ended`` have ended, and what they wrote was seen.

        Gives up the gaps that were theirs, and keeps the number of the others bounded.
        """
        self.below = [gap for gap in self.below if gap.bound > ended]
        if len(self.below) > MAX_GAPS:
            self.below = _with_neighbours(self.below)


def _with_neighbours(gaps: Sequence[Gap]) -> list[Gap]:
    """About half as many gaps, with some more numbers: those that are close are joined."""
    close = median_low([two.first - one.last for one, two in pairwise(gaps)])
    joined = [gaps[0]]
    for gap in gaps[1:]:
        last = joined[-1]
        if gap.first - last.last <= close:
            joined[-1] = Gap(last.first, gap.last, max(last.bound, gap.bound), joined=True)
        else:
            joined.append(gap)
    return joined
