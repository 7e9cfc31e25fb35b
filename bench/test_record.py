"""Record: a thousand rows of the ledger become what memory keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from bench.samples import READING, Case, invoices
from verifier.invoice.identity import key_of
from verifier.ledger.lookup.invoices import findings

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


def build() -> Callable[[], object]:
    """The rows of eight look-ups, as PostgreSQL gives them."""
    rows = [
        (
            msgspec.json.encode(
                (
                    key_of(each.code, each.number), each.kind, each.date, each.amount, each.tax,
                    each.total, each.check_code, each.seller_tax_id, each.buyer_tax_id, each.status,
                    "", "", each.seller_name, each.buyer_name,
                )
            ),
        )
        for each in invoices()
    ]  # fmt: skip
    look_ups = [rows[at : at + 125] for at in range(0, len(rows), 125)]
    return lambda: [findings(each, READING) for each in look_ups]


CASES: dict[str, Case] = {"build": build}


def test_record(benchmark: BenchmarkFixture, case: Case) -> None:
    """Building a thousand records."""
    benchmark(case())
