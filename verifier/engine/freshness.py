"""Freshness: the one place that decides how old a state may be that an answer rests on.

An answer is given when its reading is within the bound. Memory that is older is passed over and the
database is read. When the database's own state is older too, the answer is ``unavailable``, or with
brown-out what memory knows of a found invoice, marked ``stale``.

Ages are compared in one place: ``Reading.is_fresh``.
"""

from __future__ import annotations

from math import inf

import msgspec

from verifier.state import Position, Reading
from verifier.wire.records import Record


class Terms(msgspec.Struct, frozen=True, gc=False):
    """What the answer to a question may rest on, and until when it is awaited (steady clock).

    ``oldest`` is the oldest state that ``Freshness`` allows for a question that ``started`` then,
    ``at_least`` a position that the state must include. No read begins after ``deadline``; without
    one, the bounds of the loader and of the look-up hold alone. A ``discreet`` answer does not tell
    an invoice that says something else from one that is not there.
    """

    started: float
    oldest: float
    at_least: Position | None = None
    deadline: float = inf
    discreet: bool = False

    def allow(self, reading: Reading) -> bool:
        """Whether the state is new enough."""
        return reading.is_fresh(self.oldest) and (
            self.at_least is None or reading.shows(self.at_least)
        )


class Freshness(msgspec.Struct, frozen=True):
    """The bounds, in seconds; ``brownout`` is 0 when stale answers are not allowed."""

    max_staleness: float
    brownout: float = 0.0

    def oldest(self, started: float) -> float:
        """The oldest state (``Reading.as_of``) that a question which started then may rest on."""
        return started - self.max_staleness

    def tolerates(self, record: Record, started: float) -> bool:
        """Whether brown-out allows an answer from a record, when nothing newer is to be had."""
        last = record.reading.current or record.reading
        return last.is_fresh(self.oldest(started) - self.brownout)
