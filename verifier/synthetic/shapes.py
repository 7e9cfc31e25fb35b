"""How callers put a question: which fields they give, and how tidily they write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from verifier.invoice import qr
from verifier.invoice.kinds import KINDS
from verifier.synthetic.ledger import Entry

# The fields of a question by name, as text.
Request = dict[str, str]

_WIDE = str.maketrans("0123456789", "０１２３４５６７８９")


def money_field(invoice: Entry) -> str:
    """Which amount this kind's QR code carries: ``amount`` without tax, ``total`` with it."""
    return "amount" if invoice.code else "total"


def minimal(invoice: Entry) -> Request:
    """Identity, date and what the kind requires; of a long check code the last six digits."""
    request = {"code": invoice.code} if invoice.code else {}
    request |= {"number": invoice.number, "date": invoice.date}
    for factor in KINDS[invoice.kind].factors:
        value: str = getattr(invoice, factor)
        request[factor] = value[-6:] if factor == "check_code" else value
    return request


def _with_kind(invoice: Entry) -> Request:
    return {"kind": invoice.kind} | minimal(invoice)


def _full(invoice: Entry) -> Request:
    request = _with_kind(invoice) | {"amount": invoice.amount, "total": invoice.total}
    for field in ("check_code", "seller_tax_id", "buyer_tax_id"):
        if value := getattr(invoice, field):
            request[field] = value
    return request


def _scanned(invoice: Entry) -> Request:
    request = minimal(invoice)
    field = money_field(invoice)
    request[field] = getattr(invoice, field)
    if invoice.check_code:
        request["check_code"] = invoice.check_code
    return request


def _as_it_is(request: Request, invoice: Entry, bits: int) -> Request:
    return request


def _as_qr(request: Request, invoice: Entry, bits: int) -> Request:
    money = request[money_field(invoice)]
    if bits & 4:  # "32" and "64.9" are in use
        money = money.rstrip("0").removesuffix(".")
    return {
        "qr": qr.encode(
            invoice.kind,
            invoice.code,
            invoice.number,
            money,
            request["date"],
            request.get("check_code", ""),
            comma_in_crc=bool(bits & 1),
            trailing_comma=bool(bits & 2),
        )
    }


def _untidily(request: Request, invoice: Entry, bits: int) -> Request:
    """The same question with one field as people write it; the service repairs it."""
    year, month, day = request["date"].split("-")
    number = request["number"]
    ways: tuple[tuple[str, str], ...] = (
        ("date", f"{year}{month}{day}"),
        ("date", f"{year}/{int(month)}/{int(day)}"),
        ("date", f"{year}年{int(month)}月{int(day)}日"),
        ("number", number.translate(_WIDE)),
        ("number", " ".join(number[at : at + 4] for at in range(0, len(number), 4))),
        ("number", number.replace("0", "O", 1)),
    )
    field, text = ways[bits % len(ways)]
    money = next((name for name in ("amount", "total") if name in request), None)
    if money and bits >> 8 & 3 == 0:
        sign = "-" if request[money].startswith("-") else "¥"
        whole, _, cents = request[money].removeprefix("-").partition(".")
        field, text = money, f"{sign}{int(whole):,}.{cents}"
    return request | {field: text}


class Shape(NamedTuple):
    """A way to ask: which fields are given, and how they are written (with random bits)."""

    request: Callable[[Entry], Request]
    write: Callable[[Request, Entry, int], Request]


MINIMAL = Shape(minimal, _as_it_is)
QR = Shape(_scanned, _as_qr)

# Shares in percent. Kinds without a QR code are asked about in the minimal way instead.
SHAPES: tuple[tuple[Shape, int], ...] = (
    (MINIMAL, 50),
    (Shape(_with_kind, _as_it_is), 10),
    (Shape(_full, _as_it_is), 20),
    (QR, 15),
    (Shape(minimal, _untidily), 5),
)
