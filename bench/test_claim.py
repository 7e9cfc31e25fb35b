"""Claim: what it costs to repair and parse a hundred questions of each kind."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from bench.samples import WINDOW, Case, invoices
from verifier.invoice.claim import Claim
from verifier.invoice.kinds import KINDS
from verifier.invoice.parsing import parse
from verifier.synthetic.shapes import minimal

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

# Untidy in every way that contract.md §1 forgives.
UNTIDY = {"date": "2026年3月1日", "number": "２６11 2000 OOOO-0000 0001", "total": "¥1,234.50"}


def _parsed(given: list[dict[str, str]]) -> Callable[[], object]:
    oldest, today = WINDOW.oldest, WINDOW.today
    for each in given:
        assert isinstance(parse(each, oldest, today), Claim), each
    return lambda: [parse(each, oldest, today) for each in given]


def of_kind(kind: str) -> Callable[[], object]:
    """Tidy minimal questions about invoices of one kind, which is named."""
    some = [minimal(each) | {"kind": kind} for each in invoices(10_000) if each.kind == kind]
    return _parsed((some * 100)[:100])


def untidy() -> Callable[[], object]:
    """Questions in which everything has to be repaired."""
    return _parsed([UNTIDY] * 100)


CASES: dict[str, Case] = {kind: partial(of_kind, kind) for kind in KINDS} | {"untidy": untidy}


def test_claim(benchmark: BenchmarkFixture, case: Case) -> None:
    """Repairing and parsing a hundred questions."""
    benchmark(case())
