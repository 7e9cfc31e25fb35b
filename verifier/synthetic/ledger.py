"""The synthetic ledger: row ``i`` is a pure function of (rows, seed, until, i).

So questions can be made about any row without holding the ledger, and identities are unique by
construction: the sequence digits of row ``i`` are a bijection of ``i``. The rows' bits are drawn
a block at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from struct import Struct

import msgspec
from msgspec import UNSET, UnsetType

from verifier.invoice.codes import NUMBER_REGIONS
from verifier.invoice.kinds import KINDS
from verifier.synthetic import parties, profiles
from verifier.synthetic.draws import draw, slots
from verifier.synthetic.identities import check_code_of, code_of
from verifier.synthetic.parties import Party
from verifier.synthetic.profiles import Profile, tax_of, yuan
from verifier.synthetic.red_letters import BLOCK, HEAD_SIZE, RedLetter, plan, taken

# An 8-digit number, from 00000001 on, tells this many rows apart; the last ones are never in a
# ledger, for questions about what is not there.
_NUMBERS = 99_999_999
MAX_ROWS = 90_000_000
ABSENT_ROWS = _NUMBERS - MAX_ROWS
_SEQUENCES = 10**15

# Coprime with the two above, so that no two rows share a number, and near the golden section, so
# that neighbours get distant ones.
_NUMBER_STEP = 61_803_391
_SEQUENCE_STEP = 618_033_988_749_897

EARLIEST, LATEST = date(2022, 1, 1), date(2099, 12, 31)

# day, family, kind, region, seller (twice), four bytes of the amount, what is added to it,
# flags, rate, buyer, bits for everything else
_ROW = Struct("<6H4BH2BHQ")
_BITS = (1 << 64) - 1

_CODELESS = frozenset(kind.name for kind in KINDS.values() if kind.digital)
_NUMBER_REGION = {region: digits for digits, region in NUMBER_REGIONS.items()}


class Origin(msgspec.Struct, frozen=True):
    """The identity of the blue invoice that a red letter takes back."""

    code: str
    number: str


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One line of the ledger, as it is ingested. Money is text with two decimals."""

    kind: str
    code: str
    number: str
    date: str
    amount: str
    tax: str
    total: str
    check_code: str
    seller_tax_id: str
    seller_name: str
    buyer_tax_id: str
    buyer_name: str
    status: str
    red_letter_of: Origin | UnsetType
    issued_at: str


class _Day(msgspec.Struct, frozen=True, gc=False):
    day: date
    iso: str
    digital_below: int  # of 65,536

    @classmethod
    def of(cls, day: date, percent_digital: int = 0) -> _Day:
        return cls(day, day.isoformat(), percent_digital * 65_536 // 100)


class _Sketch(msgspec.Struct, gc=False):
    """A row before it is written: who, what and how much, in fen and percent."""

    profile: Profile
    region: str
    day: _Day
    seller: Party
    buyer: Party
    amount: int
    rate: int
    bits: int


class Ledger:
    """A ledger of ``rows`` invoices as it stands when the day ``until`` begins in Shanghai.

    Its dates are the five years before ``until``. ValueError for rows outside 0 to 90 million, or
    a day before 2022, when 20-digit numbers were new.
    """

    def __init__(self, rows: int, seed: int, until: date) -> None:
        if not 0 <= rows <= MAX_ROWS:
            raise ValueError(f"rows: expected 0 to {MAX_ROWS:,}, got {rows:,}")
        if not EARLIEST <= until <= LATEST:
            raise ValueError(f"until: expected a day from {EARLIEST} to {LATEST}, got {until}")
        self.rows = rows
        self.seed = seed
        self.until = until
        self.sellers = parties.sellers(seed)
        self._buyers = parties.buyers(seed)
        self._individuals = parties.individuals()
        self._days = slots(
            [(_Day.of(day, percent), weight) for day, weight, percent in profiles.days(until)],
            65_536,
        )
        self._digital = slots([(p, p.weight) for p in profiles.DIGITAL], 4096)
        self._old = slots([(p, p.weight) for p in profiles.OLD], 4096)
        self._regions = slots(profiles.REGION_WEIGHTS, 4096)
        self._clocks = profiles.clocks(4096)
        self._curves = {
            p.kind: profiles.curve(p.median, p.spread) for p in profiles.DIGITAL + profiles.OLD
        }
        shifts = draw(f"shifts {seed}", 16)
        self._number_shift = int.from_bytes(shifts[:8], "big")
        self._sequence_shift = int.from_bytes(shifts[8:], "big")
        # The block that is open: its bits, its red letters, the statuses that they cause.
        self._block = -1
        self._drawn = b""
        self._reds: dict[int, RedLetter] = {}
        self._statuses: dict[int, str] = {}

    def lines(self) -> Iterator[bytes]:
        """All rows as NDJSON, a line each with its line end."""
        encode = msgspec.json.Encoder().encode
        for index in range(self.rows):
            yield encode(self.invoice(index)) + b"\n"

    def invoice(self, index: int) -> Entry:
        """Row ``index``, from 0; a row beyond the ledger is an invoice that it lacks."""
        at = self._open(index)
        red = self._reds.get(at)
        if red is not None:
            return self._take_back(index, index - at + red.blue, red)
        sketch = self._sketch(at)
        status = self._statuses.get(at)
        if status is None:
            # 数电 invoices cannot be voided (M).
            voided = not sketch.bits >> 12 & 31 and sketch.profile.kind not in _CODELESS
            status = "voided" if voided else "normal"
        return self._write(index, sketch, tax_of(sketch.amount, sketch.rate), status, UNSET)

    def absent(self, index: int, on: date | None = None) -> Entry:
        """One of ABSENT_ROWS invoices that no ledger of this seed has, if need be of a given day.

        IndexError beyond them.
        """
        if not 0 <= index < ABSENT_ROWS:
            raise IndexError(f"absent invoice {index}: expected 0 to {ABSENT_ROWS - 1}")
        index += MAX_ROWS
        sketch = self._sketch(self._open(index))
        if on is not None:
            sketch.day = _Day.of(on)
        return self._write(index, sketch, tax_of(sketch.amount, sketch.rate), "normal", UNSET)

    def _open(self, index: int) -> int:
        """Make the block of a row the open one; returns the row's place in it."""
        block, at = divmod(index, BLOCK)
        if block == self._block:
            return at
        self._block = block
        self._drawn = draw(f"rows {self.seed} {block}", HEAD_SIZE + BLOCK * _ROW.size)
        self._reds, self._statuses = plan(self._drawn)
        last = self._days[-1]
        # No red letters when the ledger ends before them, or there is no day left for them.
        if (block + 1) * BLOCK > self.rows or any(
            self._sketch(blue).day is last for blue in self._statuses
        ):
            self._reds, self._statuses = {}, {}
        return at

    def _sketch(self, at: int) -> _Sketch:
        (
            day_draw, family, kind, region_draw, seller, other, a, b, c, d, more, flags, rate,
            buyer, bits,
        ) = _ROW.unpack_from(self._drawn, HEAD_SIZE + at * _ROW.size)  # fmt: skip
        day = self._days[day_draw]
        profile = (self._digital if family < day.digital_below else self._old)[kind & 4095]
        region = profile.region or self._regions[region_draw & 4095]
        buyers = self._individuals if flags >> 4 < profile.individuals else self._buyers
        curve = self._curves[profile.kind]
        low = curve[a + b + c + d]
        amount = low + ((curve[a + b + c + d + 1] - low) * more >> 16)
        if not flags & 3 and amount >= 100:  # some prices are in whole yuan
            amount -= amount % 100
        return _Sketch(
            profile,
            region,
            day,
            self.sellers[region][seller * other >> 25],  # a product: the first ones sell the most
            buyers[buyer >> 4],
            amount,
            profile.rates[rate % len(profile.rates)],
            bits,
        )

    def _take_back(self, index: int, blue_index: int, red: RedLetter) -> Entry:
        """A red letter: own identity, a later day, the blue one's parties, negative money."""
        sketch = self._sketch(red.blue)
        blue = self._write(blue_index, sketch, 0, "", UNSET)
        amount, tax = taken(sketch.amount, sketch.rate, red.eighths)
        later = sketch.day.day + timedelta(days=red.delay)
        sketch.day = _Day.of(min(later, self._days[-1].day))
        sketch.amount = -amount
        sketch.bits = (sketch.bits * 0x9E3779B97F4A7C15 + index) & _BITS
        return self._write(index, sketch, -tax, "red_letter", Origin(blue.code, blue.number))

    def _write(
        self, index: int, sketch: _Sketch, tax: int, status: str, origin: Origin | UnsetType
    ) -> Entry:
        profile, region, bits, amount = sketch.profile, sketch.region, sketch.bits, sketch.amount
        kind, date = profile.kind, sketch.day.iso
        if kind in _CODELESS:
            code = check_code = ""
            # The fifth digit, the channel, is at most 7: 8 and 9 are left to examples (example.py).
            sequence = (index * _SEQUENCE_STEP + self._sequence_shift) % _SEQUENCES
            number = f"{date[2:4]}{_NUMBER_REGION[region]}{bits >> 20 & 7}{sequence:015d}"
        else:
            code = code_of(kind, region, int(date[2:4]), bits >> 20 & 0xFFFFF)
            number = f"{(index * _NUMBER_STEP + self._number_shift) % _NUMBERS + 1:08d}"
            check_code = check_code_of(kind, bits)
        return Entry(
            kind,
            code,
            number,
            date,
            yuan(amount),
            yuan(tax),
            yuan(amount + tax),
            check_code,
            sketch.seller.tax_id,
            sketch.seller.name,
            sketch.buyer.tax_id,
            sketch.buyer.name,
            status,
            origin,
            date + self._clocks[bits & 4095],
        )


def generate(rows: int, seed: int, until: date) -> Iterator[bytes]:
    """The ledger as NDJSON lines, each with its line end; the same bytes for the same arguments."""
    return Ledger(rows, seed, until).lines()
