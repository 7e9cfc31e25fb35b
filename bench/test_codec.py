"""Codec: a thousand questions decoded, a thousand answers encoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bench.samples import READING, WINDOW, Case, batch, bodies, findings, questions, record_of
from bench.samples import invoices as sample_invoices
from verifier.engine.verifier import ITEMS_PER_BLOCK
from verifier.invoice.claim import Claim, Invalid
from verifier.invoice.parsing import parse
from verifier.invoice.verdict import Answer, Match, invalid, judge
from verifier.wire import questions as decoding
from verifier.wire.answers import Encoder
from verifier.wire.blocks import Recalled

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


def decode_single() -> Callable[[], object]:
    """One body each."""
    sent, decode = bodies(), decoding.decode_question
    return lambda: [decode(body) for body in sent]


def decode_batch() -> Callable[[], object]:
    """All in one body."""
    body, count = batch(), len(bodies())
    return lambda: decoding.decode_batch(body, count)


def decode_lines() -> Callable[[], object]:
    """A block of a stream."""
    block = b"\n".join(bodies())
    return lambda: decoding.decode_lines(block)


def _encoded(answers: Sequence[Answer]) -> Callable[[], object]:
    encode = Encoder("0123456789ab").encode
    return lambda: [encode(answer, "zh") for answer in answers]


def encode_match() -> Callable[[], object]:
    """Matches, whose invoices are encoded already."""
    return _encoded(
        [Match(key, record, READING, "cache", None) for key, record in findings().items()]
    )


def encode_many() -> Callable[[], object]:
    """The same as a batch encodes them."""
    encode, items = Encoder("0123456789ab").encode_results, questions()
    keys, records = list(findings()), list(findings().values())
    blocks = []
    for at in range(0, len(records), ITEMS_PER_BLOCK):
        part = slice(at, at + ITEMS_PER_BLOCK)
        blocks.append((at, Recalled(items[part], keys[part], records[part], READING)))
    return lambda: [encode(block, "zh", first) for first, block in blocks]


def encode_mismatch() -> Callable[[], object]:
    """Mismatches, put together member by member."""
    answers: list[Answer] = []
    for invoice in sample_invoices():
        given = {
            "code": invoice.code,
            "number": invoice.number,
            "kind": invoice.kind,
            "date": invoice.date,
            "amount": invoice.amount,
            "total": "0.01",
            "check_code": invoice.check_code,
        }
        claim = parse(given, WINDOW.oldest, WINDOW.today)
        assert isinstance(claim, Claim), claim
        answer = judge(claim, record_of(invoice), 0)
        answer.reading, answer.source = READING, "replica"
        answers.append(answer)
    return _encoded(answers)


def encode_invalid() -> Callable[[], object]:
    """What is malformed, with messages."""
    outcome = parse({"number": "12345678", "totl": "1"}, WINDOW.oldest, WINDOW.today)
    assert isinstance(outcome, Invalid)
    return _encoded([invalid(outcome)] * 1_000)


CASES: dict[str, Case] = {
    "decode-single": decode_single,
    "decode-batch": decode_batch,
    "decode-lines": decode_lines,
    "encode-match": encode_match,
    "encode-many": encode_many,
    "encode-mismatch": encode_mismatch,
    "encode-invalid": encode_invalid,
}


def test_codec(benchmark: BenchmarkFixture, case: Case) -> None:
    """Bytes to questions and answers to bytes, a thousand of them."""
    benchmark(case())
