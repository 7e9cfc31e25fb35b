"""From what a caller sent to a claim, or to every error at once (contract.md §1, §2)."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.invoice.samples import (
    COMPARED,
    DIGITAL,
    PAPER,
    TEXT_FIELDS,
    WINDOW,
    Given,
    Sample,
    ask,
    claim_of,
    errors_of,
    questions,
    repaired,
    samples,
    seeds,
)
from tests.invoice.spellings import spell
from verifier.invoice import fields, qr
from verifier.invoice.claim import Claim, Invalid, Question, raw_keys, reference_of
from verifier.invoice.fields import FieldError
from verifier.invoice.flaws import REPEATED
from verifier.invoice.identity import is_canonical
from verifier.invoice.kinds import KINDS
from verifier.invoice.parsing import parse

_FIELDS = Question.__struct_fields__


@given(questions)
def test_any_object_is_a_claim_or_its_errors(given: Given) -> None:
    """Nothing raises; errors are sorted, one a field; hints do not repeat."""
    parsed = parse(given, WINDOW.oldest, WINDOW.today)
    if isinstance(parsed, Invalid):
        fields = [error.field for error in parsed.errors]
        assert fields
        assert fields == sorted(set(fields))
    else:
        assert is_canonical(parsed.key)
        assert WINDOW.oldest <= parsed.date <= WINDOW.today
    hints = [(hint.code, hint.field) for hint in parsed.hints]
    assert len(hints) == len(set(hints))


@given(samples(tidy=True))
def test_the_minimal_question_matches(sample: Sample) -> None:
    """Identity, date and the required factor of an invoice are a match without hints."""
    answer = ask(sample.minimal(), sample.record())
    assert (answer.verdict, answer.key, answer.hints) == ("match", sample.key, ())


@given(samples(tidy=True))
def test_the_canonical_claim_says_what_the_question_said(sample: Sample) -> None:
    """Canonical fields come through parsing unchanged; absent ones are None."""
    given = sample.full()
    claim = claim_of(given)
    for name in COMPARED:
        assert getattr(claim, name) == given.get(name)


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_requires_its_factors(name: str) -> None:
    """With a kind but no factor, exactly the kind's factors are missing."""
    kind = KINDS[name]
    given: Given = {"kind": name, "date": "2026-03-01"}
    if kind.digital:
        given["number"] = DIGITAL.number
    else:
        code = PAPER.code if 12 in kind.code_lengths else "1100221130"
        given |= {"code": code, "number": "12345678"}
    assert errors_of(given) == [(factor, "required") for factor in sorted(kind.factors)]


@pytest.mark.parametrize(
    ("given", "errors"),
    [
        ({}, [("date", "required"), ("number", "required")]),
        ({"number": None, "date": ""}, [("date", "required"), ("number", "required")]),
        ({"number": "12345678"}, [("code", "required"), ("date", "required")]),
        # nor do the factors of a kind replace what each question needs
        (
            {"code": PAPER.code, "kind": PAPER.kind},
            [("check_code", "required"), ("date", "required"), ("number", "required")],
        ),
        # one bad field has no follow-up in another
        ({"number": "1234567", "date": "2026-03-01"}, [("number", "bad_length")]),
        (
            {"number": "12345678", "code": "01100230011X", "date": "2026-03-01"},
            [("code", "bad_format")],
        ),
        (
            {"number": "12345678", "code": "099002300199", "date": "2026-03-01"},
            [("code", "unknown_region")],
        ),
        (
            {
                "number": "12345678",
                "code": "011002300199",
                "date": "2026-03-01",
                "kind": "nonsense",
            },
            [("kind", "unknown_kind")],
        ),
        (
            {"qr": "nonsense", "code": "011002300199", "number": "12345678"},
            [("qr", "bad_format")],
        ),
        ({"qr": "x" * 1025}, [("qr", "bad_length")]),
        ({"qr": 1}, [("qr", "bad_format")]),
        # and every bad field is named
        (
            {"number": "1", "code": "2", "date": "3", "amount": "x", "total": "1.234"},
            [
                ("amount", "bad_format"),
                ("code", "bad_length"),
                ("date", "bad_format"),
                ("number", "bad_length"),
                ("total", "bad_format"),
            ],
        ),
        (
            DIGITAL.minimal() | {"chek_code": "1", "Number": "2"},
            [("Number", "unknown_field"), ("chek_code", "unknown_field")],
        ),
        (DIGITAL.minimal() | {"code": "011002300111"}, [("code", "not_applicable")]),
        (DIGITAL.minimal() | {"code": "x"}, [("code", "not_applicable")]),
        ({"number": DIGITAL.number, "date": "2026-03-01"}, [("total", "required")]),
        (
            {"number": "26992000000000000001", "date": "2026-03-01"},
            [("number", "unknown_region"), ("total", "required")],
        ),
        (
            {"number": "12345678", "code": "011002300199", "date": "2026-03-01"},
            [("kind", "kind_needed")],
        ),
        (PAPER.minimal() | {"check_code": "12345"}, [("check_code", "bad_length")]),
        (DIGITAL.minimal() | {"date": "2026-11-25"}, [("date", "date_in_future")]),
        (DIGITAL.minimal() | {"date": "2021-11-23"}, [("date", "out_of_window")]),
        (DIGITAL.minimal() | {"reference": "x" * 129}, [("reference", "bad_length")]),
        (DIGITAL.minimal() | {"reference": 5}, [("reference", "bad_format")]),
        (
            {f"{'x' * 64}{tail}": 1 for tail in "ab"} | DIGITAL.minimal(),
            [("x" * 64, "unknown_field")],
        ),
    ],
)
def test_errors_of_a_question(given: Given, errors: list[tuple[str, str]]) -> None:
    """Every bad field is reported once, and only what is itself bad."""
    assert errors_of(given) == errors


@pytest.mark.parametrize("field", TEXT_FIELDS)
@pytest.mark.parametrize("value", [True, 5, Decimal("1.5"), [], {}])
def test_wrong_types_are_bad_formats(field: str, value: Any) -> None:
    """A value of another type is a bad format of its field; only amounts may be numbers."""
    if field in ("amount", "total") and not isinstance(value, bool | list | dict):
        assert repaired(claim_of(DIGITAL.minimal() | {field: value})) == [field]
        return
    given = DIGITAL.minimal() | {field: value}
    code = "not_applicable" if field == "code" else "bad_format"
    errors = errors_of(given)
    assert (field, code) in errors
    # A number that cannot be read says nothing about its family, whose factors stay unasked.
    assert len(errors) == 1


@pytest.mark.parametrize("empty", [None, ""])
def test_null_and_empty_mean_not_supplied(empty: str | None) -> None:
    """Forms and ledgers write either for a field that is not there."""
    given = dict.fromkeys(TEXT_FIELDS, empty) | DIGITAL.minimal()
    assert ask(given, DIGITAL.record()).verdict == "match"


@given(samples(tidy=True), seeds)
def test_other_spellings_still_match(sample: Sample, seed: int) -> None:
    """A matching question stays one however it is spelled, and exactly its repairs are hinted."""
    random = Random(seed)
    canonical = sample.full()
    for _ in range(10):
        fields = random.sample(sorted(canonical), random.randint(1, len(canonical)))
        given, repairs = spell(random, canonical, fields)
        answer = ask(given, sample.record())
        assert answer.verdict == "match", given
        assert repaired(answer) == repairs, given


@given(samples(tidy=True, kinds=qr.TYPES), st.booleans(), st.booleans(), st.booleans())
def test_a_scan_is_a_complete_question(
    sample: Sample, comma_in_crc: bool, trailing_comma: bool, short: bool
) -> None:
    """What the QR code of an invoice says is a match of it, without hints."""
    money = sample.amount if sample.code else sample.total
    scan = qr.encode(
        sample.kind,
        sample.code,
        sample.number,
        money.removesuffix("0").removesuffix(".0") if short else money,
        sample.date,
        sample.check_code,
        comma_in_crc=comma_in_crc,
        trailing_comma=trailing_comma,
    )
    answer = ask({"qr": scan}, sample.record())
    assert (answer.verdict, answer.key, answer.hints) == ("match", sample.key, ())


def test_fields_override_the_scan() -> None:
    """A field beside the QR code replaces what the code says, and an empty one does not."""
    scan = "01,32,,26112000000000000001,113.00,20260301,,"
    claim = claim_of({"qr": scan, "total": "5", "date": "", "amount": None})
    assert (claim.total, claim.date, claim.key) == ("5.00", "2026-03-01", DIGITAL.key)
    assert claim_of({"qr": scan, "number": "26112000000000000002"}).key == "26112000000000000002"


def test_a_scan_s_type_helps_where_the_code_does_not_say() -> None:
    """The QR code's type stands in for a kind that the code does not tell."""
    scan = qr.encode("vat_special", "1100221030", "12345678", "100", "2026-03-01", "")
    claim = claim_of({"qr": scan})
    assert (claim.kind, claim.amount) == (None, "100.00")


def test_d26_six_fields_of_a_scan_are_a_whole_question() -> None:
    """What was cut off before the check code is a match of a 20-digit number, without a hint."""
    record = Sample(number="24417000000034170288", date="2024-07-20", total="199.00").record()
    answer = ask({"qr": "01,32,,24417000000034170288,199.00,20240720"}, record)
    assert (answer.verdict, answer.hints) == ("match", ())
    assert errors_of({"qr": "01,10,011002300111,12345678,100.00,20260301"}) == [
        ("qr", "bad_format")
    ]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((kind.chinese, name) for name, kind in KINDS.items()),
        ("增值税专用发票", "vat_special"),
        (" 增值税 电子普通发票", "vat_e_ordinary"),
        ("数电票（专用）", "digital_special"),
        ("电子发票（普通发票）", "digital_ordinary"),
    ],
)
def test_chinese_names_of_kinds_are_forgiven(name: str, kind: str) -> None:
    """The name that stands on an invoice is its kind, told as a repair."""
    claim = claim_of(DIGITAL.minimal() | {"kind": name})
    assert (claim.kind, repaired(claim)) == (kind, ["kind"])


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("InvoiceNo", "number"),
        ("invoice_num", "number"),
        ("发票号码", "number"),
        ("fphm", "number"),
        ("fpdm", "code"),
        ("kprq", "date"),
        ("jym", "check_code"),
        ("checkCode", "check_code"),
        ("jshj", "total"),
        ("销售方纳税人识别号", "seller_tax_id"),
        ("gfsh", "buyer_tax_id"),
        ("chek_code", ""),
        # A field of ours that a question does not have is not what was meant.
        ("seller_name", ""),
    ],
)
def test_names_of_other_systems_get_the_field_to_use(name: str, field: str) -> None:
    """An unknown field that is known elsewhere says in ``expected`` which one is meant."""
    parsed = parse(DIGITAL.minimal() | {name: "1"}, WINDOW.oldest, WINDOW.today)
    assert isinstance(parsed, Invalid)
    assert [(error.field, error.code, error.expected) for error in parsed.errors] == [
        (name, "unknown_field", field)
    ]


def test_c16_at_most_twenty_errors_are_listed() -> None:
    """Those of known fields first, then the first unknown ones; of the others there is a number."""
    given = {f"x{each:04}": 1 for each in range(1_000)} | {"number": "1", "total": "x"}
    parsed = parse(given, WINDOW.oldest, WINDOW.today)
    assert isinstance(parsed, Invalid)
    assert [error.field for error in parsed.errors] == [
        "date", "number", "total", *(f"x{each:04}" for each in range(17)),
    ]  # fmt: skip
    assert parsed.more_errors == 983


@pytest.mark.parametrize("name", ["a\0b", "\u202eabc", "a\nb", "\x1b[31m"])
def test_c16_a_name_that_is_told_shows_what_it_is(name: str) -> None:
    """Control characters in an unknown name are replaced, and no more than 64 characters told."""
    parsed = parse({name + "x" * 100: 1}, WINDOW.oldest, WINDOW.today)
    assert isinstance(parsed, Invalid)
    (told,) = [error.field for error in parsed.errors if error.code == "unknown_field"]
    assert told.isprintable()
    assert len(told) == 64


@pytest.mark.parametrize("field", TEXT_FIELDS)
def test_d22_nul_in_any_text_is_a_bad_format(field: str) -> None:
    """A text with NUL is one error of its field, whatever the field is for."""
    assert errors_of(DIGITAL.full() | {field: "1\0"}) == [(field, "bad_format")]


@pytest.mark.parametrize("field", TEXT_FIELDS)
def test_d22_a_field_that_is_given_twice_is_one_error(field: str) -> None:
    """It brings no other error, of itself or of what depends on it."""
    assert errors_of(DIGITAL.minimal() | {field: REPEATED}) == [(field, "duplicate_field")]


def test_a_blockchain_url_needs_the_rest_of_the_question() -> None:
    """The URL says number and total; code, date, amount and check code are the caller's."""
    url = "https://example.org/verify/scan?hash=ab&bill_num=12345678&total_amount=11300"
    assert errors_of({"qr": url}) == [("code", "required"), ("date", "required")]
    claim = claim_of(
        {
            "qr": url,
            "code": "144032309110",
            "date": "2026-03-01",
            "amount": 100,
            "check_code": "ab12c",
        }
    )
    assert (claim.key, claim.total, claim.amount) == ("144032309110-12345678", "113.00", "100.00")


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"number": DIGITAL.number}, DIGITAL.number),
        ({"number": DIGITAL.number, "code": ""}, DIGITAL.number),
        ({"number": "12345678", "code": PAPER.code}, PAPER.key),
        ({"number": "12345678"}, ""),
        ({"number": PAPER.key}, ""),  # a key is no number
        ({"number": "1100221130-12345678"}, ""),
        ({"code": PAPER.code}, ""),
        ({"number": DIGITAL.number, "qr": "x"}, ""),
    ],
)
def test_raw_keys(given: Given, key: str) -> None:
    """The raw key is what memory is asked by before parsing; empty where it needs a parse."""
    assert raw_keys([Question(**given)]) == [key]


@given(samples(), st.text("0123456789-O ", max_size=24), st.booleans())
def test_a_canonical_raw_key_is_the_claim_s(sample: Sample, text: str, as_code: bool) -> None:
    """If a raw key looks like a real one, parsing finds the same key or an error."""
    asking = Question(**(sample.full() | {"code" if as_code else "number": text}))
    key = raw_keys([asking])[0]
    if is_canonical(key):
        given = {name: getattr(asking, name) for name in _FIELDS}
        parsed = parse(given, WINDOW.oldest, WINDOW.today)
        assert isinstance(parsed, Invalid) or parsed.key == key


@pytest.mark.parametrize(
    ("key", "canonical"),
    [
        (DIGITAL.key, True),
        (PAPER.key, True),
        ("1100221130-12345678", True),
        ("11002211301-12345678", False),
        ("1100221130-1234567", False),
        (f"{DIGITAL.key}\n", False),
        ("２６112000000000000001", False),
        ("", False),
    ],
)
def test_canonical_keys(key: str, canonical: bool) -> None:
    """Only the three forms of a real key may be looked up as they stand."""
    assert bool(is_canonical(key)) is canonical


@pytest.mark.parametrize(
    ("reference", "echoed"),
    [("r", "r"), ("", ""), (None, None), ("x" * 128, "x" * 128), ("x" * 129, None), (5, None)],
)
def test_references_are_echoed(reference: Any, echoed: str | None) -> None:
    """A reference of at most 128 characters is echoed as it came, and nothing else is."""
    given = DIGITAL.minimal() | {"reference": reference}
    assert reference_of(given) == echoed
    parsed = parse(given, WINDOW.oldest, WINDOW.today)
    if isinstance(parsed, Claim):
        assert parsed.reference == echoed


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("number", fields.EXPECTED_NUMBER),
        ("code", fields.EXPECTED_CODE),
        ("kind", " ".join(KINDS)),
        ("date", fields.EXPECTED_DATE),
        ("amount", fields.EXPECTED_MONEY),
        ("total", fields.EXPECTED_MONEY),
        ("check_code", fields.EXPECTED_CHECK_CODE),
        ("seller_tax_id", fields.EXPECTED_TAX_ID),
        ("buyer_tax_id", fields.EXPECTED_TAX_ID),
    ],
)
def test_a_value_of_a_wrong_type_is_told_what_is_expected(field: str, expected: str) -> None:
    """As a text of a wrong form is."""
    outcome = parse(PAPER.full() | {field: [1]}, WINDOW.oldest, WINDOW.today)
    assert isinstance(outcome, Invalid)
    assert FieldError(field, "bad_format", expected) in outcome.errors
