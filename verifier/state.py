"""State: what a database has shown, and how new that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec


class Position(msgspec.Struct, frozen=True, gc=False):
    """A place in the primary's log: ``lsn`` in bytes, on a timeline."""

    timeline: int
    lsn: int


class Live:
    """One database from one connection of its feed on, as its newest reading shows it.

    None when the feed has ended: then nothing is known of how old the findings are by now.
    """

    __slots__ = ("reading",)

    def __init__(self) -> None:
        self.reading: Reading | None = None


class Reading(msgspec.Struct, frozen=True, gc=False):
    """The state of the ledger that a read saw; many findings share one.

    ``as_of`` is in seconds of the steady clock (clocks.py): the state is at least that new, and
    ``moment`` says the same by the wall clock. ``watermarks`` maps a region to the moment (seconds
    since the epoch) until which it is complete; it was read before the invoices, from the same
    server, so that an invoice that came with a watermark is never missed. ``applied`` says how
    many changes memory had applied when the reading was published, ``epoch`` what the wall clock
    then made of the steady clock's zero.
    """

    source: Literal["replica", "primary"]
    as_of: float
    watermarks: Mapping[str, float]
    applied: int = 0
    position: Position | None = None
    live: Live | None = None
    epoch: float = 0.0

    @property
    def moment(self) -> float:
        """``as_of`` in seconds since the epoch."""
        return self.as_of + self.epoch

    @property
    def current(self) -> Reading | None:
        """The newest reading that still holds for what this one found, unless a feed dropped it."""
        return self if self.live is None else self.live.reading

    def is_fresh(self, oldest: float) -> bool:
        """Whether the state is at least as new as one of that moment (steady clock)."""
        return self.as_of >= oldest

    def shows(self, position: Position) -> bool:
        """Whether the state includes all that was written up to a position."""
        mine = self.position
        return mine is not None and mine.timeline == position.timeline and mine.lsn >= position.lsn
