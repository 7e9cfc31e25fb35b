"""Latencies as an HDR histogram: exact to a thousandth, any range, merged without loss.

Microseconds are counted in buckets that become twice as wide each time that the value has one more
bit than 11 (Gil Tene's log-linear layout). Only buckets that have a count are kept: a second's
latencies fill some hundreds of them, where the dense arrays of the hdrhistogram package take
180 KB for a range of an hour, and a run has one for each second and class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil
from typing import Self

# Values below 2 to this power have a bucket each; above, a bucket is under 1/1024 of its value.
_BITS = 11
_HALF = 1 << (_BITS - 1)


def bucket_of(microseconds: int) -> int:
    """The bucket that counts a value of at least 0."""
    shift = microseconds.bit_length() - _BITS
    return microseconds if shift <= 0 else shift * _HALF + (microseconds >> shift)


def bounds_of(bucket: int) -> tuple[int, int]:
    """The values that a bucket counts: from the first up to, and without, the second."""
    if bucket < 2 * _HALF:
        return bucket, bucket + 1
    shift = bucket // _HALF - 1
    low = (bucket - shift * _HALF) << shift
    return low, low + (1 << shift)


class Histogram:
    """Durations in seconds, kept in microseconds. Not for several threads."""

    __slots__ = ("counts", "longest", "total")

    def __init__(
        self, counts: Mapping[int, int] | None = None, total: int = 0, longest: int = 0
    ) -> None:
        self.counts: dict[int, int] = dict(counts or {})
        # Microseconds, exact.
        self.total = total
        self.longest = longest

    def record(self, seconds: float) -> None:
        """Count a duration; one below 0, from clocks of two machines, counts as 0."""
        microseconds = int(seconds * 1e6)
        if microseconds < 0:
            microseconds = 0
        bucket = bucket_of(microseconds)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self.total += microseconds
        if microseconds > self.longest:
            self.longest = microseconds

    def merge(self, other: Histogram) -> None:
        """Count what another one has counted: the same as if this one had counted all."""
        counts = self.counts
        for bucket, count in other.counts.items():
            counts[bucket] = counts.get(bucket, 0) + count
        self.total += other.total
        self.longest = max(self.longest, other.longest)

    @classmethod
    def of(cls, parts: Iterable[Histogram]) -> Self:
        """All parts merged."""
        whole = cls()
        for part in parts:
            whole.merge(part)
        return whole

    def __len__(self) -> int:
        return sum(self.counts.values())

    @property
    def mean(self) -> float:
        """Seconds; 0 of nothing."""
        return self.total / 1e6 / max(1, len(self))

    @property
    def max(self) -> float:
        """The longest, in seconds, exact to a microsecond; 0 of nothing."""
        return self.longest / 1e6

    def percentile(self, share: float) -> float:
        """Seconds that so many (0 to 1) are within: a bucket's upper end; 0 of nothing."""
        return self.percentiles((share,))[0]

    def percentiles(self, shares: Iterable[float]) -> list[float]:
        """The same for several ascending shares, in one pass."""
        total = len(self)
        found: list[float] = []
        buckets = iter(sorted(self.counts.items()))
        reached, end = 0, 0
        for share in shares:
            # The smallest value that at least so many are within, and at least the first.
            wanted = max(1, ceil(share * total))
            while reached < wanted and (entry := next(buckets, None)) is not None:
                reached += entry[1]
                end = min(bounds_of(entry[0])[1] - 1, self.longest)
            found.append(end / 1e6)
        return found

    def share_within(self, seconds: float) -> float:
        """The share (0 to 1) that took at most so long; 1 of nothing."""
        total = len(self)
        if not total:
            return 1.0
        last = bucket_of(int(seconds * 1e6))
        return sum(count for bucket, count in self.counts.items() if bucket <= last) / total
