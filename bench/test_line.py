"""Line: a thousand lines that are ingested, checked and laid out as rows for COPY."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from bench.samples import Case, invoices
from verifier.wire.lines import Row, read

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


def _read(lines: list[bytes]) -> Callable[[], object]:
    assert all(isinstance(read(line), Row) for line in lines)
    return lambda: [read(line) for line in lines]


def canonical() -> Callable[[], object]:
    """Lines as `verifier ledger generate` writes them."""
    return _read([msgspec.json.encode(invoice) for invoice in invoices()])


def loose() -> Callable[[], object]:
    """Lines that need a second look: amounts without decimals."""
    return _read(
        [
            msgspec.json.encode(
                msgspec.to_builtins(invoice) | {"amount": 100, "tax": 13, "total": 113}
            )
            for invoice in invoices()
        ]
    )


CASES: dict[str, Case] = {"canonical": canonical, "loose": loose}


def test_line(benchmark: BenchmarkFixture, case: Case) -> None:
    """A thousand lines to rows."""
    benchmark(case())
