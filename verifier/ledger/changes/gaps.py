"""Gaps: which numbers of the change log a follower has not seen. Pure."""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter
from typing import NamedTuple


class Gap(NamedTuple):
    """Numbers from ``first`` to ``last``, taken by transactions whose ids are below ``bound``."""

    first: int
    last: int
    bound: int


class Gaps:
    """All numbers above ``top``, and the gaps ``below`` it in their order.

    A gap is a transaction that is open, or was rolled back while an older one is still open. More
    than ``most`` are too many to be looked at each time.
    """

    def __init__(self, most: int, top: int = 0) -> None:
        self._most = most
        self.top = top
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
        parts = gap._replace(last=first - 1), gap._replace(first=last + 1)
        self.below[at : at + 1] = [part for part in parts if part.first <= part.last]

    def end(self, ended: int) -> None:
        """All transactions whose ids are below ``ended`` have ended, and what they wrote was seen.

        Gives up the gaps that were theirs.
        """
        self.below = [gap for gap in self.below if gap.bound > ended]

    @property
    def settled(self) -> int:
        """Up to this number each was seen, or has been given up."""
        return self.below[0].first - 1 if self.below else self.top

    @property
    def too_many(self) -> bool:
        """Whether there are more gaps than can be looked at each time."""
        return len(self.below) > self._most
