"""Tests at the edge of each bound, and of what an error says was expected."""

from __future__ import annotations

from datetime import datetime

import msgspec
import pytest

from tests.invoice.lines import DIGITAL, encoded, errors, example
from tests.invoice.samples import NOON, PAPER, READING, WINDOW, Sample
from verifier.invoice import fields
from verifier.invoice.claim import Claim, Invalid, Question, reference_of
from verifier.invoice.hints import Hint
from verifier.invoice.kinds import KINDS
from verifier.invoice.line_checks import canonical
from verifier.invoice.parsing import parse
from verifier.invoice.verdict import SHANGHAI, Judgement, Match, agrees, window_at
from verifier.wire.lines import Row, read


def expected(outcome: object) -> dict[str, str]:
    """What each error says was expected, by field."""
    assert isinstance(outcome, Invalid)
    return {error.field: error.expected for error in outcome.errors}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, {"date": "", "number": ""}),
        ({"number": "1", "date": "2026-13-01"}, {"number": "8 / 20 × 0-9", "date": "YYYY-MM-DD"}),
        ({"date": "2027-01-01", "number": "26112000000000000001"}, {"date": "≤ 2026-11-24"}),
        ({"date": "2019-01-01", "number": "26112000000000000001"}, {"date": "≥ 2021-11-24"}),
        ({"amount": "1" * 12}, {"amount": "≤ 11 × 0-9"}),
        ({"amount": 10**70}, {"amount": "-1234.50"}),
        ({"kind": "none"}, {"kind": " ".join(KINDS)}),
        ({"seller_tax_id": "1"}, {"seller_tax_id": "15 … 20 × 0-9 A-Z"}),
        ({"code": "1", "number": "12345678"}, {"code": "10 / 12 × 0-9"}),
        ({"code": "011002300199", "number": "12345678"}, {"kind": " ".join(KINDS)}),
        ({"reference": "x" * 129}, {"reference": "≤ 128"}),
        ({"qr": "x"}, {"qr": "01,<type>,<code>,<number>,<amount>,<yyyymmdd>,<check code>"}),
    ],
)
def test_an_error_says_what_was_expected(given: dict[str, object], said: dict[str, str]) -> None:
    """In words that belong to no language; nothing where the code says it all."""
    found = expected(parse(given, WINDOW.oldest, WINDOW.today))
    assert {field: found[field] for field in said} == said
    assert all(type(each) is str for each in found.values())


def test_a_number_of_zeros_is_told_what_a_number_is() -> None:
    """A line of the ledger whose number is zeros hears the form that is wanted."""
    vat_special = KINDS["vat_special"]
    line = msgspec.json.encode(example(vat_special, number="00000000"))
    assert expected(read(line)) == {"number": "8 × 0-9"}


def test_a_line_with_a_code_does_not_refer_to_itself() -> None:
    """Its own identity is code and number; the same number of another code is another invoice."""
    vat_special = KINDS["vat_special"]
    line = example(vat_special)
    itself = {"code": line["code"], "number": line["number"]}
    assert errors(read(msgspec.json.encode(line | {"red_letter_of": itself}))) == [
        ("red_letter_of", "bad_format")
    ]
    another = itself | {"code": "1100261131"}
    assert isinstance(read(msgspec.json.encode(line | {"red_letter_of": another})), Row)


def test_the_longest_tax_id_of_a_line() -> None:
    """Twenty characters are admitted, by the quick way and by the one that explains; no more."""
    assert isinstance(read(encoded(seller_tax_id="9" * 20)), Row)
    assert not isinstance(canonical(example(DIGITAL, seller_tax_id="9" * 20)), Invalid)
    assert errors(read(encoded(seller_tax_id="9" * 21))) == [("seller_tax_id", "bad_length")]


def test_the_longest_text_of_a_qr_code() -> None:
    """A text of 1,024 characters is looked at, a longer one is not."""
    for length, code in ((1024, "bad_format"), (1025, "bad_length")):
        outcome = parse({"qr": "," * length}, WINDOW.oldest, WINDOW.today)
        assert ("qr", code) in errors(outcome)


def test_the_longest_text_that_is_narrowed() -> None:
    """Full-width text of 256 characters is mended; no field holds more."""
    assert fields.narrow("１" * 256) == "1" * 256
    assert fields.narrow("１" * 257) == "１" * 257


def test_a_claim_tells_its_region() -> None:
    """The region whose watermark decides is that of the code, or of the number without one."""
    for given, region in (
        (PAPER.full() | {"code": "3302221130", "kind": "vat_special", "amount": "1"}, "3302"),
        (Sample(number="26312000000000000001").minimal(), "3100"),
    ):
        claim = parse(given, WINDOW.oldest, WINDOW.today)
        assert isinstance(claim, Claim)
        assert claim.region == region


def test_a_reference_with_nul_is_not_echoed() -> None:
    """One without is, however odd its other characters are."""
    assert reference_of({"reference": "a\0b"}) is None
    assert reference_of({"reference": "a\x01b"}) == "a\x01b"


def test_a_day_begins_at_midnight_in_shanghai() -> None:
    """A window holds from midnight to midnight, wherever the server stands."""
    window = window_at(NOON)
    assert window.since == datetime(2026, 11, 24, tzinfo=SHANGHAI).timestamp()
    assert window.until - window.since == 86_400


def test_a_match_with_a_hint_keeps_what_it_was() -> None:
    """It gains the hint, and loses neither key, reference, record, reading nor source."""
    sample = Sample()
    record, hint = sample.record(), Hint("repaired", "total")
    assert Match(sample.key, record, READING, "cache", "r").hinted(hint) == Judgement(
        "match", sample.key, "r", record=record, hints=(hint,), reading=READING, source="cache"
    )


@pytest.mark.parametrize("party", ["seller_tax_id", "buyer_tax_id"])
def test_the_short_cut_takes_the_shortest_tax_id(party: str) -> None:
    """An id of fifteen characters calls for no closer look."""
    sample = Sample(**{party: "1" * 15})
    question = Question(**sample.minimal(), **{party: "1" * 15})
    assert agrees(question, sample.record(), WINDOW)
