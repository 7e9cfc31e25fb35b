"""Questions that are wrong on purpose: fields that differ from the ledger, and malformed ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta

from verifier.invoice.kinds import KINDS
from verifier.synthetic.ledger import Entry
from verifier.synthetic.profiles import yuan
from verifier.synthetic.shapes import Request, minimal

# The field and the code of each error, sorted.
Errors = list[tuple[str, str]]

_COMPARED = ("date", "amount", "total", "check_code", "seller_tax_id", "buyer_tax_id", "kind")


def _later(day: str, bits: int, invoice: Entry) -> str:
    # Never earlier: the first day of the ledger is the first one in scope.
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()


def _other_amount(text: str, bits: int, invoice: Entry) -> str:
    if bits & 3 == 0 and invoice.amount != invoice.total:  # the classic mistake
        return invoice.total if text == invoice.amount else invoice.amount
    return yuan(int(text.replace(".", "")) + 1 + (bits >> 2) % 9999)


def _misread(code: str, bits: int, invoice: Entry) -> str:
    last = code[-1]
    return code[:-1] + (str((int(last) + 1) % 10) if last.isdecimal() else "0")


def _other_kind(kind: str, bits: int, invoice: Entry) -> str:
    return "digital_ordinary" if kind == "digital_special" else "digital_special"


_WAYS: dict[str, Callable[[str, int, Entry], str]] = {
    "date": _later,
    "amount": _other_amount,
    "total": _other_amount,
    "check_code": _misread,
    "kind": _other_kind,
}


def spoil(request: Request, invoice: Entry, bits: int, tax_ids: Sequence[str]) -> list[str]:
    """Change one field of a true request, sometimes two, in place; returns their names, sorted.

    ``tax_ids`` are at least two ids to take another one from.
    """
    # Another kind of paper invoice would require another factor.
    fields = [
        field for field in _COMPARED if field in request and not (field == "kind" and invoice.code)
    ]
    count = min(len(fields), 1 + (bits & 3 == 0))
    start = (bits >> 2) % len(fields)
    chosen = sorted(fields[(start + step) % len(fields)] for step in range(count))
    for field in chosen:
        given = request[field]
        if field in _WAYS:
            request[field] = _WAYS[field](given, bits >> 8, invoice)
        else:
            at = (bits >> 8) % len(tax_ids)
            request[field] = tax_ids[at] if tax_ids[at] != given else tax_ids[at - 1]
    return chosen


def invalid(invoice: Entry, bits: int, until: date) -> tuple[Request, Errors]:
    """A malformed question about an invoice, and the errors that it must get on day ``until``."""
    factors = KINDS[invoice.kind].factors
    money = "total" if "total" in factors else "amount"
    future = (until + timedelta(days=3)).isoformat()
    # What is changed (None: left out), and the errors of that.
    ways: tuple[tuple[dict[str, str | None], Errors], ...] = (
        ({"date": None}, [("date", "required")]),
        ({"date": f"{invoice.date[:4]}-02-30"}, [("date", "bad_format")]),
        ({"date": future}, [("date", "date_in_future")]),
        ({"date": f"{until.year - 6}-05-05"}, [("date", "out_of_window")]),
        ({"number": invoice.number[:-1]}, [("number", "bad_length")]),
        ({"number": f"{invoice.number[:-1]}X"}, [("number", "bad_format")]),
        ({money: "12.345"}, [(money, "bad_format")]),
        (dict.fromkeys(factors), [(factor, "required") for factor in sorted(factors)]),
        ({"totl": invoice.total}, [("totl", "unknown_field")]),
        ({"kind": "receipt"}, [("kind", "unknown_kind")]),
    )
    change, errors = ways[bits % len(ways)]
    asked = minimal(invoice) | change
    return {field: value for field, value in asked.items() if value is not None}, errors
