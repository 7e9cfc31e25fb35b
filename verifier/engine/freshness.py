"""Freshness: the one place that decides how old a state may be that an answer rests on.

With a reading inside the bound the answer is given. Outside it memory is passed over and the
database is asked; when the database's own state is outside it too, the answer is ``unavailable``
- or, with brown-out allowed, what memory knows of a found invoice, marked ``stale``.
"""

from __future__ import annotations

from math import inf

import msgspec

from verifier.state import Position, Reading
from verifier.wire.records import Record


class Terms(msgspec.Struct, frozen=True, gc=False):
    """What an answer may rest on, and until when it is worth reading the ledger for.

    When its question started, the oldest state that ``Freshness`` allows for that, the position
    that the state must include, if any, and after which moment no read begins for it. Moments are
    of the steady clock. By default the bounds of loader and look-up hold, and no other deadline.
    """

    started: float
    oldest: float
    at_least: Position | None = None
    deadline: float = inf

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
        """Whether, with nothing better at hand, a stale answer may be given, marked as such."""
        last = record.reading.current or record.reading
        return last.is_fresh(self.oldest(started) - self.brownout)
