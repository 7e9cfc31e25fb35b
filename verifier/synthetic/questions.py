"""Questions about a synthetic ledger, with the answer that each should get.

The day of asking is the ledger's ``until``, or a later one that is given. The answers hold while no
region has set a watermark, so that the ledger counts as complete until 24 hours ago: what it lacks
is ``not_found`` when dated two days before that day or earlier, and ``pending`` when dated on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from struct import Struct
from types import MappingProxyType

import msgspec

from verifier.invoice.fields import oldest_date
from verifier.invoice.kinds import USABLE_STATUSES
from verifier.invoice.qr import TYPES
from verifier.synthetic.draws import draw, slots
from verifier.synthetic.ledger import ABSENT_ROWS, Entry, Ledger
from verifier.synthetic.popularity import Popularity
from verifier.synthetic.shapes import MINIMAL, QR, SHAPES, Request
from verifier.synthetic.spoil import invalid, spoil

# Parts of the whole by expected verdict.
DEFAULT_MIX: Mapping[str, int] = MappingProxyType(
    {"match": 900, "mismatch": 50, "not_found": 30, "pending": 10, "invalid": 10}
)
DEFAULT_ZIPF = Decimal("1.0")

_BLOCK = 64
# verdict, shape, which invoice (twice), bits for everything else
_ROW = Struct("<HHQIQ")


class Case(msgspec.Struct, frozen=True):
    """A question and what it must get, in the form of the conformance set.

    ``expect`` has ``verdict`` and, by verdict, ``status`` and ``usable``, ``mismatched`` (sorted
    field names) or ``errors`` (sorted pairs of field and code).
    """

    id: str
    request: Request
    expect: dict[str, object]


class Questions:
    """``count`` questions about a ledger; iterating twice gives the same ones.

    ``mix`` is in parts by verdict (a verdict left out has none), ``zipf`` the exponent of the
    popularity of invoices, ``asked_on`` the day of asking: invoices that are out of scope by then
    are passed over. ValueError says which argument cannot be used.
    """

    def __init__(
        self,
        ledger: Ledger,
        count: int,
        seed: int,
        mix: Mapping[str, int] = DEFAULT_MIX,
        zipf: Decimal = DEFAULT_ZIPF,
        asked_on: date | None = None,
    ) -> None:
        self._day = asked_on or ledger.until
        if not 0 <= (self._day - ledger.until).days < 365:
            raise ValueError(
                f"asked_on: expected a day in the year from {ledger.until} on, got {self._day}"
            )
        self._oldest = oldest_date(self._day)
        if count < 0:
            raise ValueError(f"count: expected at least 0, got {count}")
        if unknown := sorted(set(mix) - set(DEFAULT_MIX)):
            raise ValueError(f"mix: {unknown[0]!r} is none of {', '.join(DEFAULT_MIX)}")
        if min(mix.values(), default=0) < 0 or not any(mix.values()):
            raise ValueError(f"mix: expected parts of at least 0 and not all 0, got {dict(mix)}")
        self._ledger = ledger
        self._count = count
        self._seed = seed
        self._verdicts = slots([(verdict, mix.get(verdict, 0)) for verdict in DEFAULT_MIX], 1 << 16)
        self._shapes = slots(SHAPES, 1 << 12)
        self._popularity = Popularity(ledger.rows, zipf)
        self._tax_ids = tuple(
            party.tax_id for pool in ledger.sellers.values() for party in pool[:32]
        )

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Case]:
        bits = b""
        for index in range(self._count):
            block, at = divmod(index, _BLOCK)
            if at == 0:
                label = f"questions {self._ledger.seed} {self._seed} {block}"
                bits = draw(label, _BLOCK * _ROW.size)
            yield self._case(index, *_ROW.unpack_from(bits, at * _ROW.size))

    def _case(self, index: int, verdict: int, shape: int, which: int, more: int, bits: int) -> Case:
        expected = self._verdicts[verdict]
        name = f"{expected}-{index:07d}"
        ledger = self._ledger
        if expected == "not_found":
            invoice = self._absent(which)
        elif expected == "pending":
            invoice = ledger.absent(which % ABSENT_ROWS, on=self._day)
        else:
            invoice = self._present(self._popularity.row(which, more))
        if expected == "invalid":
            request, errors = invalid(invoice, bits, self._day)
            return Case(name, request, {"verdict": expected, "errors": errors})
        asked = self._shapes[shape & 4095]
        if asked is QR and invoice.kind not in TYPES:
            asked = MINIMAL
        request = asked.request(invoice)
        expect: dict[str, object] = {"verdict": expected}
        if expected == "match":
            usable = invoice.status in USABLE_STATUSES
            expect |= {"status": invoice.status, "usable": usable}
        elif expected == "mismatch":
            expect["mismatched"] = spoil(request, invoice, bits, self._tax_ids)
        return Case(name, asked.write(request, invoice, bits >> 32), expect)

    def _present(self, row: int) -> Entry:
        """The invoice of a row, or of the next one that is in scope."""
        while (invoice := self._ledger.invoice(row % self._ledger.rows)).date < self._oldest:
            row += 1
        return invoice

    def _absent(self, which: int) -> Entry:
        settled = (self._day - timedelta(days=2)).isoformat()
        while True:
            invoice = self._ledger.absent(which % ABSENT_ROWS)
            if self._oldest <= invoice.date <= settled:
                return invoice
            which += 1


def questions(
    rows: int,
    seed: int,
    until: date,
    count: int,
    *,
    mix: Mapping[str, int] = DEFAULT_MIX,
    zipf: Decimal = DEFAULT_ZIPF,
    question_seed: int = 0,
) -> Iterator[bytes]:
    """Bodies of ``POST /v1/verify`` as NDJSON lines about the ledger (rows, seed, until).

    The same bytes for the same arguments; ``question_seed`` tells runs about one ledger apart.
    """
    encode = msgspec.json.Encoder().encode
    asked = Questions(Ledger(rows, seed, until), count, question_seed, mix, zipf)
    return (encode(case.request) + b"\n" for case in asked)
