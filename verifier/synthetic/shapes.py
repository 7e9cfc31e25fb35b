"""How callers put a question: which fields they give, and how tidily they write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from verifier.invoice import qr
from verifier.invoice.kinds import KINDS
from verifier.synthetic.ledger import Invoice

# The fields of a question by name, as text.
Claim = dict[str, str]

_WIDE = str.maketrans("0123456789", "０１２３４５６７８９")


def money_field(invoice: Invoice) -> str:
    """Which amount this kind's QR code carries: ``amount`` without tax, ``total`` with it."""
    return "amount" if invoice.code else "total"


def minimal(invoice: Invoice) -> Claim:
    """Identity, date and what the kind requires; of a long check code the last six digits."""
    claim = {"code": invoice.code} if invoice.code else {}
    claim |= {"number": invoice.number, "date": invoice.date}
    for factor in KINDS[invoice.kind].factors:
        value: str = getattr(invoice, factor)
        claim[factor] = value[-6:] if factor == "check_code" else value
    return claim


def _with_kind(invoice: Invoice) -> Claim:
    return {"kind": invoice.kind} | minimal(invoice)


def _full(invoice: Invoice) -> Claim:
    claim = _with_kind(invoice) | {"amount": invoice.amount, "total": invoice.total}
    for field in ("check_code", "seller_tax_id", "buyer_tax_id"):
        if value := getattr(invoice, field):
            claim[field] = value
    return claim


def _scanned(invoice: Invoice) -> Claim:
    claim = minimal(invoice)
    field = money_field(invoice)
    claim[field] = getattr(invoice, field)
    if invoice.check_code:
        claim["check_code"] = invoice.check_code
    return claim


def _as_it_is(claim: Claim, invoice: Invoice, bits: int) -> Claim:
    return claim


def _as_qr(claim: Claim, invoice: Invoice, bits: int) -> Claim:
    money = claim[money_field(invoice)]
    if bits & 4:  # "32" and "64.9" are in use
        money = money.rstrip("0").removesuffix(".")
    return {
        "qr": qr.encode(
            invoice.kind,
            invoice.code,
            invoice.number,
            money,
            claim["date"],
            claim.get("check_code", ""),
            comma_in_crc=bool(bits & 1),
            trailing_comma=bool(bits & 2),
        )
    }


def _untidily(claim: Claim, invoice: Invoice, bits: int) -> Claim:
    """The same question with one field as people write it; the service repairs it."""
    year, month, day = claim["date"].split("-")
    number = claim["number"]
    ways: tuple[tuple[str, str], ...] = (
        ("date", f"{year}{month}{day}"),
        ("date", f"{year}/{int(month)}/{int(day)}"),
        ("date", f"{year}年{int(month)}月{int(day)}日"),
        ("number", number.translate(_WIDE)),
        ("number", " ".join(number[at : at + 4] for at in range(0, len(number), 4))),
        ("number", number.replace("0", "O", 1)),
    )
    field, text = ways[bits % len(ways)]
    money = next((name for name in ("amount", "total") if name in claim), None)
    if money and bits >> 8 & 3 == 0:
        sign = "-" if claim[money].startswith("-") else "¥"
        whole, _, cents = claim[money].removeprefix("-").partition(".")
        field, text = money, f"{sign}{int(whole):,}.{cents}"
    return claim | {field: text}


class Shape(NamedTuple):
    """A way to ask: which fields are given, and how they are written (with random bits)."""

    claim: Callable[[Invoice], Claim]
    write: Callable[[Claim, Invoice, int], Claim]


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
