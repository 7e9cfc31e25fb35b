"""Invoices, questions and records for the hot paths: the same ones in every run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import cache

import msgspec

from verifier.invoice.claim import Question
from verifier.invoice.identity import key_of
from verifier.invoice.verdict import window_at
from verifier.state import Live, Reading
from verifier.synthetic.ledger import Entry, Ledger
from verifier.synthetic.shapes import minimal
from verifier.wire import records
from verifier.wire.records import Record

ITEMS = 1_000
NOON = datetime(2026, 11, 24, 4, tzinfo=UTC).timestamp()
WINDOW = window_at(NOON)
LIVE = Live()
READING = LIVE.reading = Reading("replica", NOON, {}, live=LIVE)

# A hot path: builds what it needs, and returns the work of one round.
Case = Callable[[], Callable[[], object]]


@cache
def invoices(count: int = ITEMS) -> tuple[Entry, ...]:
    """The first rows of a synthetic ledger whose dates are in scope at NOON."""
    ledger = Ledger(100_000, 1, date(2026, 11, 24))
    return tuple(ledger.invoice(index) for index in range(count))


def record_of(invoice: Entry) -> Record:
    """What memory keeps of it."""
    origin = invoice.red_letter_of
    return records.build(
        key_of(invoice.code, invoice.number),
        invoice.kind,
        invoice.date,
        invoice.amount,
        invoice.tax,
        invoice.total,
        invoice.check_code,
        invoice.seller_tax_id,
        invoice.buyer_tax_id,
        invoice.status,
        "" if isinstance(origin, msgspec.UnsetType) else key_of(origin.code, origin.number),
        "",
        msgspec.json.encode(invoice.seller_name),
        msgspec.json.encode(invoice.buyer_name),
        READING,
    )


@cache
def findings() -> dict[str, Record]:
    """What a read of the ledger finds of the invoices, by key."""
    return {key_of(invoice.code, invoice.number): record_of(invoice) for invoice in invoices()}


@cache
def bodies() -> tuple[bytes, ...]:
    """The minimal question about each invoice, as sent."""
    return tuple(msgspec.json.encode(minimal(invoice)) for invoice in invoices())


def questions() -> list[Question]:
    """The same, decoded."""
    return [msgspec.json.decode(body, type=Question) for body in bodies()]


def batch() -> bytes:
    """All questions in one body."""
    return b'{"invoices":[%b]}' % b",".join(bodies())
