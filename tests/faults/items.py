"""What is asked about and what changes: two synthetic ledgers, and one history for each question.

The invoices of the first never change: questions about them come in every shape and with every
verdict that ``verifier.synthetic`` knows, malformed ones included. Of the second some are led from
state to state, some get one buyer after the other, some are not there at first and appear, and the
watermark of each region goes back and forth over an invoice of yesterday that never comes.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count
from typing import Any, Literal

import msgspec

from loadtests.oracle import History
from verifier.invoice.codes import NUMBER_REGIONS
from verifier.invoice.verdict import SHANGHAI
from verifier.synthetic.ledger import Entry, Ledger
from verifier.synthetic.questions import Questions
from verifier.synthetic.shapes import minimal

_STEADY_SEED, _CHANGING_SEED = 4, 5
_SLOW = 16
_MIX = {"match": 70, "mismatch": 10, "not_found": 10, "pending": 5, "invalid": 5}

_encode = msgspec.json.encode


class _Shown(msgspec.Struct):
    buyer_name: str = ""


class _Freshness(msgspec.Struct):
    source: str = ""
    as_of: str = ""


class Result(msgspec.Struct):
    """Of an answer, what the oracle looks at."""

    verdict: str = ""
    status: str | int = ""  # the invoice's, or HTTP's in a problem document
    invoice: _Shown = msgspec.field(default_factory=_Shown)
    mismatched: list[str] = msgspec.field(default_factory=list)
    reference: str | None = None
    freshness: _Freshness = msgspec.field(default_factory=_Freshness)
    code: str = ""  # of a problem document
    reason: str = ""


Kind = Literal["steady", "status", "buyer", "new", "watermark"]

# Each state differs from the three before, so that an old one is not taken for the newest.
_NEXT_STATUS = {
    "normal": "voided",
    "voided": "partially_red_flushed",
    "partially_red_flushed": "red_flushed",
    "red_flushed": "normal",
}


class Item(msgspec.Struct, eq=False):
    """A question and its history; ``kind`` says which change it takes."""

    name: str
    question: bytes  # JSON without the closing brace
    history: History
    kind: Kind
    invoice: Entry | None = None
    # Somebody writes it now. Nobody does so again once a write's outcome was unknown: it may be
    # late, and come after the next one.
    busy: bool = False
    retired: bool = False

    def asking(self, reference: int) -> bytes:
        """The question as JSON, with a reference that its result must carry."""
        return b'%b,"reference":"%d"}' % (self.question, reference)

    def shown(self, result: Result) -> str:
        """An answer in one line, as far as it depends on the state of the ledger."""
        if result.verdict == "match":
            # What is steady is not known by its buyer.
            name = "" if self.kind == "steady" else result.invoice.buyer_name
            return _match(str(result.status), name)
        if result.verdict == "mismatch":
            return f"mismatch {','.join(result.mismatched)}"
        return result.verdict or result.code


class Write(msgspec.Struct):
    """A change that an item takes next: the request, and what is shown afterwards."""

    method: str
    path: str
    body: bytes
    shown: str


def _match(status: str, buyer_name: str) -> str:
    return f"match {status} {buyer_name}".strip()


class Items:
    """All items over ledgers of ``rows`` invoices each, as of today."""

    def __init__(self, rows: int) -> None:
        self.until = datetime.now(SHANGHAI).date()
        self._steady_ledger = Ledger(rows, _STEADY_SEED, self.until)
        self._ledger = Ledger(rows, _CHANGING_SEED, self.until)
        self._absent = count()
        free = [
            invoice
            for invoice in map(self._ledger.invoice, range(rows))
            if invoice.status == "normal" and invoice.red_letter_of is msgspec.UNSET
        ]
        # Left to transactions that stay open for a while (test_voids.py).
        self.slow = [_item(invoice, "status") for invoice in free[:_SLOW]]
        self.changing = [
            _item(invoice, "status" if index % 4 else "buyer")
            for index, invoice in enumerate(free[_SLOW:])
        ]
        self.watermarks = [self._watermark(*names) for names in NUMBER_REGIONS.items()]
        self.steady = [
            Item(case.id, _encode(case.request)[:-1], History(_expected(case.expect)), "steady")
            for case in Questions(self._steady_ledger, rows, 0, _MIX)
        ]
        self.coming = [self._coming() for _ in range(64)]

    def feed(self) -> bytes:
        """The ledgers as they are in the beginning, for ``POST /v1/ledger/invoices``."""
        return b"".join((*self._steady_ledger.lines(), *self._ledger.lines()))

    def unknown(self) -> Item:
        """A question about an invoice that never was, and that nobody has asked about before."""
        invoice = self._next_absent()
        return _item(invoice, "steady", "not_found")

    def appear(self, item: Item) -> None:
        """An invoice that was not there has come: it changes like others from now on."""
        self.coming.remove(item)
        self.coming.append(self._coming())
        item.kind = "status"
        self.changing.append(item)

    def next_write(self, item: Item) -> Write:
        """The change that an item takes next, as its last one is known to have happened."""
        if item.kind == "watermark":
            complete = item.history.states[-1].shown == "pending"
            # Questions about other days are answered alike with both.
            day = self.until if complete else self.until - timedelta(days=1)
            moment = datetime.combine(day, datetime.min.time(), SHANGHAI)
            return Write(
                "PUT",
                f"/v1/ledger/regions/{item.name}/watermark",
                _encode({"complete_until": moment.isoformat()}),
                "not_found" if complete else "pending",
            )
        assert item.invoice is not None
        old = item.invoice
        if item.kind == "status":
            new = msgspec.structs.replace(old, status=_NEXT_STATUS[old.status])
            item.invoice = new
            change = {"code": new.code, "number": new.number, "status": new.status}
            return Write("POST", "/v1/ledger/status", _encode(change), _shown(new))
        if item.kind == "buyer":
            name = f"测试购买有限公司{item.history.newest:04d}号"
            item.invoice = msgspec.structs.replace(old, buyer_name=name)
        line = _encode(item.invoice)
        return Write("POST", "/v1/ledger/invoices", line, _shown(item.invoice))

    def _next_absent(self) -> Entry:
        settled = (self.until - timedelta(days=2)).isoformat()
        while True:
            invoice = self._ledger.absent(next(self._absent))
            if invoice.date <= settled:
                return invoice

    def _coming(self) -> Item:
        return _item(self._next_absent(), "new", "not_found")

    def _watermark(self, digits: str, region: str) -> Item:
        """An invoice of yesterday, until whose end a region is complete or not."""
        yesterday = (self.until - timedelta(days=1)).isoformat()
        # The fifth digit of the ledgers' numbers is at most 7.
        number = f"{yesterday[2:4]}{digits}8{0:015d}"
        question = _encode({"number": number, "date": yesterday, "total": "1.00"})[:-1]
        # Without a watermark it is complete until 24 hours ago.
        return Item(region, question, History("pending"), "watermark")


def _item(invoice: Entry, kind: Kind, first: str = "") -> Item:
    name = f"{invoice.code}-{invoice.number}"
    question = _encode(minimal(invoice))[:-1]
    return Item(name, question, History(first or _shown(invoice)), kind, invoice)


def _shown(invoice: Entry) -> str:
    return _match(invoice.status, invoice.buyer_name)


def _expected(expect: dict[str, Any]) -> str:
    """What a question of ``verifier.synthetic`` must get."""
    if expect["verdict"] == "match":
        return _match(expect["status"], "")
    if expect["verdict"] == "mismatch":
        return f"mismatch {','.join(expect['mismatched'])}"
    verdict: str = expect["verdict"]
    return verdict
