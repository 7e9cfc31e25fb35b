"""Verdict: a thousand questions judged, by comparing bytes and in full."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from bench.samples import WINDOW, Case, bodies, invoices, record_of
from verifier.invoice.claim import Claim, Question, raw_keys
from verifier.invoice.parsing import parse
from verifier.invoice.verdict import agrees, judge
from verifier.synthetic.shapes import minimal
from verifier.wire.records import Record

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


def _agreeing() -> list[tuple[Question, Record]]:
    decode = msgspec.json.Decoder(Question).decode
    pairs = [
        (decode(body), record_of(invoice))
        for body, invoice in zip(bodies(), invoices(), strict=True)
    ]
    # Of the others, the code alone does not say the kind; the full way is theirs.
    agreeing = [pair for pair in pairs if agrees(*pair, WINDOW)]
    assert len(agreeing) > 900
    return agreeing


def keys() -> Callable[[], object]:
    """What a question is looked up by."""
    questions = [question for question, _ in _agreeing()]
    return lambda: raw_keys(questions)


def fast() -> Callable[[], object]:
    """Matches seen by comparing bytes."""
    pairs, window = _agreeing(), WINDOW
    return lambda: [agrees(question, record, window) for question, record in pairs]


def _judged(change: dict[str, str]) -> Callable[[], object]:
    pairs = []
    for invoice in invoices():
        claim = parse(
            minimal(invoice) | {"kind": invoice.kind} | change, WINDOW.oldest, WINDOW.today
        )
        assert isinstance(claim, Claim), claim
        pairs.append((claim, record_of(invoice)))
    return lambda: [judge(claim, record, 0.0) for claim, record in pairs]


def full() -> Callable[[], object]:
    """Matches judged from the parsed claim."""
    return _judged({})


def differing() -> Callable[[], object]:
    """Mismatches."""
    return _judged({"total": "0.01", "date": "2026-03-01"})


def absent() -> Callable[[], object]:
    """Not found and pending."""
    claims = [parse(minimal(each) | {"kind": each.kind}, *_DAYS) for each in invoices()]
    known = [claim for claim in claims if isinstance(claim, Claim)]
    return lambda: [judge(claim, None, 1.7e9) for claim in known]


_DAYS = (WINDOW.oldest, WINDOW.today)

CASES: dict[str, Case] = {
    "key": keys,
    "agrees": fast,
    "judge-match": full,
    "judge-mismatch": differing,
    "judge-absent": absent,
}


def test_verdict(benchmark: BenchmarkFixture, case: Case) -> None:
    """Judging a thousand questions."""
    benchmark(case())
