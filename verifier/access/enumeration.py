"""Enumeration: whether a caller asks as somebody does who guesses.

Three ways to ask stand out, and none needs to be told from a busy caller by its rate:

- ``sequential``: numbers next to each other that do not match. Who holds invoices with numbers in a
  row gets matches, and they are only counted.
- ``random``: most numbers are not in the ledger. An invoice that is there and differs does not
  count: nobody comes by such numbers by chance, but each ERP with a wrong column has them.
- ``guessing``: one number is tried with ever other dates, amounts or check codes. To ask the same
  again is not to guess.

Time is cut into stretches of five seconds. One is conspicuous when there is much of such a kind,
and it is a large part of all that was asked; a caller is suspect while four of the last twelve are.
So a batch that is wrong as a whole, which is one or two stretches, is not held against a caller. An
import that goes on for 20 seconds with numbers in a row of which none match is: nothing tells it
from somebody who finds out which numbers are issued. Each worker judges what it sees itself.
``pending`` counts nowhere: a seller's own invoices of today are in a row and asked for again.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Literal, NamedTuple

Kind = Literal["sequential", "random", "guessing"]
KINDS: tuple[Kind, ...] = ("sequential", "random", "guessing")

# Seconds of a stretch; how many are looked back at, and how many of those make a caller suspect.
STRETCH = 5.0
LOOKED_AT = 12
CONSPICUOUS = 4
_HISTORY = (1 << LOOKED_AT) - 1

# So many in a stretch are much. People type one in two seconds, and a booklet of receipts that the
# ledger lacks is in a row; numbers that are merely missing come from imports, a few a second.
_MUCH_IN_A_ROW, _MUCH_ABSENT, _MUCH_GUESSED = 20, 50, 10

# One of so many questions is a large part: of callers at the peak hour one in twenty differs.
_PART, _PART_ABSENT = 4, 2

# Numbers that did not match, 16 neighbours to a cell and a bit each: 4 KiB. Strangers that share a
# cell pass for neighbours, so all are forgotten when a quarter of the cells is taken.
_CELLS = 2_048
_TAKEN = _CELLS // 4

# Numbers that are tried again and again; all else about them is kept as 64 bits. With so many bits
# set, which takes as many different guesses at least, each further question is one.
_TRIED = 16
_GUESSES = 16

# Seconds after which numbers and guesses are forgotten, so that they cannot add up over a day.
_FORGET = 60.0


class Suspicion(NamedTuple):
    """What a caller is suspected of, by the newest conspicuous stretch.

    Of ``asked`` questions in it ``counted`` were of the kind; so were ``stretches`` of the last
    LOOKED_AT.
    """

    kind: Kind
    counted: int
    asked: int
    stretches: int


class Trail:
    """What one caller's questions leave: 0.6 KiB, and 7 KiB once some did not match.

    ``asked`` is for whoever answers to add to: each question that gets ``match``. ``now`` is always
    in seconds of the steady clock.
    """

    __slots__ = (
        "_absent",
        "_cells",
        "_counted",
        "_ends",
        "_forgets",
        "_guessed",
        "_history",
        "_in_a_row",
        "_new",
        "_suspicion",
        "_taken",
        "_tried",
        "asked",
    )

    def __init__(self) -> None:
        self.asked = 0
        # Numbers of this stretch that did not match and are new; those of them that are not in the
        # ledger, and those that have a neighbour. And guesses.
        self._new = self._absent = self._in_a_row = self._guessed = 0
        self._ends = self._forgets = 0.0
        # By kind: a bit for each stretch, the newest one the lowest; and what was counted, and
        # asked, in the newest that was conspicuous.
        self._history = dict.fromkeys(KINDS, 0)
        self._counted = dict.fromkeys(KINDS, (0, 0))
        self._suspicion: Suspicion | None = None
        self._cells: array[int] | None = None
        self._taken = 0
        # By the hash of a number, the least recently tried first.
        self._tried: dict[int, int] = {}

    def missed(
        self, asked: int, absent: Iterable[str], differing: Iterable[tuple[str, int]], now: float
    ) -> None:
        """A request is answered, and not all of it matches.

        ``asked`` are its questions, without those that get another verdict than ``match``,
        ``not_found`` and ``mismatch``; ``absent`` the keys that are not found, and ``differing``
        those that differ, each with a hash of all that was said of it: date, amounts, check code.
        """
        if now >= self._ends:
            self._next(now)
        self.asked += asked
        for key in absent:
            if self._is_new(key):
                self._absent += 1
        for key, guess in differing:
            self._is_new(key)
            self._try(key, guess)

    def suspect(self, now: float) -> Suspicion | None:
        """What the caller is suspected of now, if anything."""
        if now >= self._ends:
            self._next(now)
        return self._suspicion

    def _is_new(self, key: str) -> bool:
        """Note a number that did not match; whether it is new, which is all that counts."""
        cells = self._cells
        if cells is None or self._taken >= _TAKEN:
            cells = self._cells = array("H", bytes(2 * _CELLS))
            self._taken = 0
        number = int(key[-8:])
        # Numbers in a row share no cell, however many they are.
        place = (hash(key[:-8]) + (number >> 4)) % _CELLS
        bit = 1 << (number & 15)
        seen = cells[place]
        if seen & bit:
            return False
        cells[place] = seen | bit
        self._new += 1
        if seen:
            self._in_a_row += 1
        else:
            self._taken += 1
        return True

    def _try(self, key: str, guess: int) -> None:
        """Note what was said of a number that is there; with enough of that it is a guess."""
        tried, name = self._tried, hash(key)
        known = tried.pop(name, 0)
        if known.bit_count() >= _GUESSES:
            self._guessed += 1
        elif len(tried) >= _TRIED:
            del tried[next(iter(tried))]
        tried[name] = known | 1 << (guess & 63)

    def _next(self, now: float) -> None:
        """A stretch is over: judge it, and begin another."""
        quiet = min(LOOKED_AT, int((now - self._ends) / STRETCH))
        self._suspicion = None
        for kind, counted in self._conspicuous().items():
            history = (self._history[kind] << 1 | (counted > 0)) << quiet & _HISTORY
            self._history[kind] = history
            if counted:
                self._counted[kind] = counted, self.asked
            if history.bit_count() >= CONSPICUOUS and self._suspicion is None:
                self._suspicion = Suspicion(kind, *self._counted[kind], history.bit_count())
        self.asked = self._new = self._absent = self._in_a_row = self._guessed = 0
        self._ends = now + STRETCH
        if now >= self._forgets:
            self._tried, self._cells = {}, None
            self._forgets = now + _FORGET

    def _conspicuous(self) -> dict[Kind, int]:
        """How many questions of this stretch were of each kind; 0 unless it is conspicuous."""
        asked, in_a_row, absent, guessed = self.asked, self._in_a_row, self._absent, self._guessed
        is_row = in_a_row >= _MUCH_IN_A_ROW and 2 * in_a_row >= self._new
        is_random = absent >= _MUCH_ABSENT and _PART_ABSENT * absent >= asked
        is_guessing = guessed >= _MUCH_GUESSED and _PART * guessed >= asked
        return {
            "sequential": in_a_row if is_row and _PART * in_a_row >= asked else 0,
            "random": absent if is_random else 0,
            "guessing": guessed if is_guessing else 0,
        }
