"""Rates: a bucket of units for each limit, by the generic cell rate algorithm (GCRA).

A question costs a unit, and a batch of n costs n: all of it is admitted or nothing, and what is
refused is not charged. The bucket is one number, which time alone refills, so that an idle limit
costs nothing. The state is kept in units and not in seconds, as GCRA is usually written, because
sums of whole units are exact: the last unit of a burst is admitted and not refused by a rounding.
"""

from __future__ import annotations

from math import ulp

import msgspec


class Rate(msgspec.Struct, frozen=True, gc=False):
    """``units`` a second in the long run, ``burst`` units at once. Raises ValueError for none."""

    units: float
    burst: float

    def __post_init__(self) -> None:
        if not (self.units > 0 and self.burst > 0):
            raise ValueError(
                f"a rate admits something: {self.units} a second, {self.burst} at once"
            )


class Bucket:
    """A full one at first. ``now`` is in seconds of the steady clock, and not negative.

    In any T seconds it admits ``burst + units * T`` at most, of batches up to the burst. A larger
    one is admitted when the bucket is full, or it never would be, and leaves a debt: nothing is
    admitted until that is paid off. So it too gets no more than the rate in the long run.

    A ``now`` before an earlier one gives nothing twice: it only finds less in the bucket, by as
    much as time went back.
    """

    __slots__ = ("_burst", "_taken", "_units", "offered")

    def __init__(self, rate: Rate) -> None:
        self._units = rate.units
        self._burst = rate.burst
        # As many units have been taken, or were lost while the bucket was full, as the rate had
        # given at the moment at which the bucket would be full again: GCRA's theoretical arrival
        # time, in units.
        self._taken = 0.0
        # Units that were asked for, also in vain.
        self.offered = 0

    def take(self, units: int, now: float) -> float:
        """Take units, all or none: 0.0, or seconds until as many would be admitted."""
        self.offered += units
        burst = self._burst
        # Less the burst, again: then the units between the two are exactly the burst.
        most = now * self._units + burst
        full = most - burst
        taken = self._taken
        if taken <= full:
            self._taken = full + units
            return 0.0
        after = taken + units
        if after <= most:
            self._taken = after
            return 0.0
        # As much as is there when the bucket is full is enough for any batch.
        moment = (taken if units > burst else after - burst) / self._units
        # Twice the rounding of a moment, so that whoever comes back after so long is admitted.
        return moment - now + 2 * ulp(moment)

    def give_back(self, units: int) -> None:
        """Undo a ``take`` that was admitted; the units were asked for, all the same."""
        self._taken -= units

    def remaining(self, now: float) -> int:
        """How many units would be admitted at once; 0 while in debt."""
        most = now * self._units + self._burst
        return max(0, int(most - max(self._taken, most - self._burst)))

    def reset(self, now: float) -> float:
        """Seconds until it is full again."""
        return max(0.0, self._taken / self._units - now)

    def change(self, rate: Rate, now: float) -> None:
        """Go on with another rate; as many units are missing from the bucket as before."""
        missing = max(0.0, self._taken - now * self._units)
        self._units = rate.units
        self._burst = rate.burst
        self._taken = now * rate.units + missing
