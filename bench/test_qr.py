"""QR: a hundred codes read and their checksums taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.samples import Case, invoices
from verifier.invoice import qr
from verifier.synthetic.shapes import money_field

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


def _texts() -> list[str]:
    some = [invoice for invoice in invoices() if invoice.kind in qr.TYPES][:100]
    return [
        qr.encode(
            each.kind,
            each.code,
            each.number,
            getattr(each, money_field(each)),
            each.date,
            each.check_code,
        )
        for each in some
    ]


def parse() -> Callable[[], object]:
    """Fields and checksum."""
    texts = _texts()
    return lambda: [qr.parse(text) for text in texts]


def crc() -> Callable[[], object]:
    """The checksum alone."""
    texts = _texts()
    return lambda: [qr.crc(text) for text in texts]


CASES: dict[str, Case] = {"parse": parse, "crc": crc}


def test_qr(benchmark: BenchmarkFixture, case: Case) -> None:
    """Reading a hundred codes."""
    benchmark(case())
