"""Lanes: single questions and bulk wait for reads apart, each within bounds of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec

# A read costs as much as twenty of its keys do. While one runs that began just now (seconds),
# another one of its lane leaves only with so many keys; fewer leave when it returns or turns out
# to be slow. Under load this makes few large reads out of many small ones.
JUST_NOW = 0.002
WORTH_A_READ = 20
# Of ten reads that begin while both wait, so many are people's.
_OF_PEOPLE = 9


class Limits(msgspec.Struct, frozen=True):
    """The loader's bounds: concurrent reads, keys per read, keys waiting, seconds of waiting."""

    slots: int
    max_batch: int
    waiting_singles: int
    waiting_bulk: int
    max_wait: float


class Lane:
    """Keys of one class that wait, in the order of asking, and how many reads it has running.

    At most ``most_waiting`` keys wait and ``most_reads`` reads run. ``worth`` keys leave although
    another read has just begun.
    """

    __slots__ = ("_last_began", "_worth", "most_reads", "most_waiting", "queue", "reads")

    def __init__(self, most_waiting: int, most_reads: int, worth: int) -> None:
        self.most_waiting = most_waiting
        self.most_reads = most_reads
        self._worth = worth
        # Each key with the moment (steady clock) of its first request.
        self.queue: deque[tuple[str, float]] = deque()
        self.reads = 0
        self._last_began = 0.0

    @property
    def may_read(self) -> bool:
        """Whether there are keys, and another read may run for them."""
        return bool(self.queue) and self.reads < self.most_reads

    def is_ready(self, now: float) -> bool:
        """Whether another read may run and is worth its cost already."""
        return self.may_read and (
            not self.reads or len(self.queue) >= self._worth or now - self._last_began >= JUST_NOW
        )

    def place(self, key: str) -> int | None:
        """Where a key is in the queue, if it is there."""
        return next((at for at, (waiting, _) in enumerate(self.queue) if waiting == key), None)

    def begin(self, now: float) -> None:
        """A read begins."""
        self.reads += 1
        self._last_began = now

    def end(self) -> None:
        """A read has ended."""
        self.reads -= 1


class Lanes:
    """The lanes of single questions and of bulk, and which of them has the next read.

    At most ``limit`` reads run, singles' first; but where they leave nothing idle, one in ten that
    begin is bulk's. One slot is kept from bulk as long as there are two; and where reads of bulk
    are more than a limit that has fallen, a person's begins beside them, within all ``slots``: so
    that a single question never waits for a read of bulk.
    """

    def __init__(self, limits: Limits) -> None:
        worth, slots = min(WORTH_A_READ, limits.max_batch), limits.slots
        self.singles = Lane(limits.waiting_singles, slots, worth)
        self.bulk = Lane(limits.waiting_bulk, _of_bulk(slots), worth)
        self._slots = self._limit = slots
        # Reads of singles that began since bulk had one, or had nothing to read.
        self._in_a_row = 0

    def __iter__(self) -> Iterator[Lane]:
        return iter((self.singles, self.bulk))

    def limit_to(self, reads: int) -> None:
        """Have so many reads at once from now on, of at most all slots."""
        self._limit = reads
        self.bulk.most_reads = _of_bulk(reads)

    @property
    def free(self) -> int:
        """How many more reads may begin within the limit; negative once that has fallen."""
        return self._limit - self.singles.reads - self.bulk.reads

    def next(self, now: float) -> Lane | None:
        """The lane whose read may begin now, if there is one."""
        singles, bulk = self.singles, self.bulk
        if self.free <= 0:
            beside = not singles.reads and bulk.reads < self._slots
            return singles if beside and singles.is_ready(now) else None
        if self._in_a_row >= _OF_PEOPLE and bulk.is_ready(now):
            return bulk
        if singles.is_ready(now):
            return singles
        return bulk if bulk.is_ready(now) else None

    def begin(self, lane: Lane, now: float) -> None:
        """A read of a lane begins."""
        lane.begin(now)
        self._in_a_row = self._in_a_row + 1 if lane is self.singles and self.bulk.queue else 0


def _of_bulk(reads: int) -> int:
    """How many of so many reads may be bulk's."""
    return max(1, reads - 1)
