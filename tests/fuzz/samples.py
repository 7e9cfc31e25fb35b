"""What inputs are made from: a small synthetic ledger, questions about it, and odd pieces of JSON.

All of it is the same in every run and on every day, so that a seed alone makes an input again.
"""

from __future__ import annotations

from datetime import date
from functools import cache
from random import Random

import msgspec

from verifier.synthetic.ledger import Entry, Ledger
from verifier.synthetic.shapes import SHAPES, minimal

# Far enough back that no clock thinks it the future; in scope for years.
UNTIL = date(2025, 1, 1)
ROWS = 400

# In names, references and addresses of what is sent: no line of a log may have it.
MARK = "Zq7kanarie"

Members = list[tuple[str, bytes]]


@cache
def invoices() -> tuple[Entry, ...]:
    """The ledger."""
    ledger = Ledger(ROWS, 7, UNTIL)
    return tuple(ledger.invoice(index) for index in range(ROWS))


@cache
def lines() -> tuple[bytes, ...]:
    """The ledger as a feed."""
    return tuple(msgspec.json.encode(invoice) for invoice in invoices())


@cache
def secrets() -> tuple[bytes, ...]:
    """What the log of a service must not have: the mark, all tax ids, and pieces of these."""
    ids = {
        tax_id
        for invoice in invoices()
        for tax_id in (invoice.seller_tax_id, invoice.buyer_tax_id)
        if tax_id
    }
    # The first six characters are those of a region, which many share.
    return (MARK.lower().encode(), *sorted(tax_id[-10:].lower().encode() for tax_id in ids))


def text(value: str) -> bytes:
    """A text as JSON."""
    return msgspec.json.encode(value)


def question(random: Random) -> Members:
    """The members of a question that is well formed, in one of the ways that callers have."""
    invoice = random.choice(invoices())
    shape = random.choices([shape for shape, _ in SHAPES], [share for _, share in SHAPES])[0]
    try:
        given = shape.write(shape.request(invoice), invoice, random.getrandbits(32))
    except KeyError:  # a kind without a QR code
        given = minimal(invoice)
    if random.random() < 0.3:
        given["seller_tax_id"] = invoice.seller_tax_id
    members = [(name, text(value)) for name, value in given.items()]
    if random.random() < 0.3:
        members.append(("reference", text(f"{MARK} {random.getrandbits(20)}")))
    return members


def line(random: Random) -> Members:
    """The members of a line of a feed."""
    given = msgspec.json.decode(random.choice(lines()), type=dict[str, msgspec.Raw])
    members = [(name, bytes(value)) for name, value in given.items()]
    if random.random() < 0.3:
        members.append(("buyer_name", text(MARK)))
    return list(dict(members).items())


def status(random: Random) -> Members:
    """The members of a line that changes a status."""
    invoice, other = random.choice(invoices()), random.choice(invoices())
    given = [
        ("code", text(invoice.code)),
        ("number", text(invoice.number)),
        ("status", text(random.choice(["normal", "voided", "red_flushed", "nonsense"]))),
    ]
    if random.random() < 0.4:
        red = {"code": other.code, "number": other.number}
        given.append(("red_letter", msgspec.json.encode(red)))
    return given


NUMBERS = (
    b"0", b"-0", b"-0.0", b"1", b"113", b"113.0", b"113.00", b"1e2", b"1E+2", b"1.5e-1", b"1e400",
    b"-1e400", b"1e-400", b"1e999999999999", b"1E-999999999999999999999", b"0.000000000000000001",
    b"9007199254740993", b"18446744073709551616", b"-9223372036854775809", b"99999999999.99",
    b"100000000000", b"9" * 5_000, b"0." + b"3" * 3_000, b"01", b"1.", b".5", b"+1", b"-", b"0x10",
    b"NaN", b"Infinity", b"-Infinity", b"1_000", b"1e", b"\xef\xbc\x91",
)  # fmt: skip

TEXTS = (
    b'""', b'" "', b'"\\u0000"', b'"\x00"', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\ud83d\\ude00"',
    b'"\xff"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xc0\xaf"', b'"\\u003a"', b'"\\x"',
    b'"\\u12"', b'"\n"', b'"\t"', b'"\x1f"', b'"\x7f"', b'"\xe2\x80\xae"', b'"\xef\xbb\xbf"',
    '"１２３"'.encode(), '"¥1,234.50"'.encode(), '"2026年3月1日"'.encode(), '"²③Ⅳ٣"'.encode(),
    '"１\u0301\u0316"'.encode(), b'"-"', b'"--1"', b'"1,2,3"', b'"1e5"', b'"0000-00-00"',
    b'"9999-12-31"', b'"2024-02-30"', b'"00000000"', b'"01,32,,,,,,"', b'"01,10,0110"',
    b'"https://x/verify/scan?bill_num=1&total_amount=9"', b'"http://[::1"', b'"https://%zz?;"',
    b'"Zq7kanarie"', b'"' + b"0" * 21 + b'"', b'"' + b"x" * 129 + b'"', b'"' + b"7" * 3_000 + b'"',
    b'"' + "e\u0301".encode() * 1_000 + b'"', b'"' + b":" * 2_100 + b'"',
)  # fmt: skip

WORDS = (b"null", b"true", b"false", b"nul", b"None", b"undefined", b"", b"{}", b"[]", b"{", b"]")

NAMES = (
    "kind", "code", "number", "date", "check_code", "amount", "total", "seller_tax_id",
    "buyer_tax_id", "reference", "qr", "InvoiceNo", "发票号码", "chek_code", "", "\0", "include",
    "status", "tax", "region", "red_letters", "red_letter_of", "issued_at", "NUMBER", "a" * 300,
)  # fmt: skip
