"""Record: a thousand rows of the ledger become what memory keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.samples import READING, Case, invoices
from verifier.invoice.record import key_of
from verifier.ledger.invoices import findings

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


def build() -> Callable[[], object]:
    """Rows as asyncpg gives them."""
    rows: list[tuple[object, ...]] = [
        (
            key_of(each.code, each.number), each.kind, each.date, each.amount, each.tax, each.total,
            each.check_code, each.seller_tax_id, each.seller_name, each.buyer_tax_id,
            each.buyer_name, each.status, None, [],
        )
        for each in invoices()
    ]  # fmt: skip
    return lambda: findings(rows, READING)


CASES: dict[str, Case] = {"build": build}


def test_record(benchmark: BenchmarkFixture, case: Case) -> None:
    """Building a thousand records."""
    benchmark(case())
