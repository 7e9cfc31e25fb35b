"""Tax ids: a thousand check characters, computed and remembered."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.samples import Case, invoices
from verifier.invoice.taxids import check_character, fails_check

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


def compute() -> Callable[[], object]:
    """The check character of 17 others."""
    ids = [invoice.seller_tax_id for invoice in invoices()]
    heads = [tax_id[:17] for tax_id in ids if len(tax_id) == 18]
    return lambda: [check_character(head) for head in heads]


def known() -> Callable[[], object]:
    """Ids that were seen before."""
    ids = [invoice.seller_tax_id for invoice in invoices()]
    return lambda: [fails_check(tax_id) for tax_id in ids]


CASES: dict[str, Case] = {"compute": compute, "known": known}


def test_taxids(benchmark: BenchmarkFixture, case: Case) -> None:
    """Checking a thousand ids."""
    benchmark(case())
