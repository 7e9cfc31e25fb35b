"""Record: a thousand rows of the ledger become what memory keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from bench.samples import READING, Case, invoices
from verifier.invoice.record import key_of
from verifier.ledger.invoices import findings

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


def build() -> Callable[[], object]:
    """Eight results of a look-up, as PostgreSQL gives them."""
    rows = [
        (
            key_of(each.code, each.number), each.kind, each.date, each.amount, each.tax, each.total,
            each.check_code, each.seller_tax_id, each.seller_name, each.buyer_tax_id,
            each.buyer_name, each.status, "", "",
        )
        for each in invoices()
    ]  # fmt: skip
    results = [[(msgspec.json.encode(rows[at : at + 125]),)] for at in range(0, len(rows), 125)]
    return lambda: [findings(result, READING) for result in results]


CASES: dict[str, Case] = {"build": build}


def test_record(benchmark: BenchmarkFixture, case: Case) -> None:
    """Building a thousand records."""
    benchmark(case())
