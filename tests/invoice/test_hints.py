"""Hints: what a caller should know although it does not change the verdict."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import pytest

from tests.invoice.samples import DIGITAL, PAPER, WINDOW, Given, Sample, ask, claim_of
from verifier.invoice.claim import Question
from verifier.invoice.hints import Hint, swapped_amounts
from verifier.invoice.verdict import agrees
from verifier.wire import schemas


def hints_of(given: Given) -> list[tuple[str, str]]:
    """The (code, field) pairs of a well-formed question's hints."""
    return [(hint.code, hint.field) for hint in claim_of(given).hints]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"date": "2025-03-01"}, [("number_year", "number")]),
        ({"number": "25112000000000000001"}, [("number_year", "number")]),
        ({"kind": "digital_special"}, []),
        ({"kind": "vat_special", "amount": "1"}, [("kind_differs_from_code", "kind")]),
        ({"seller_tax_id": "91110108MA01A2B3CF"}, []),
        ({"seller_tax_id": "91110108MA01A2B3C1"}, [("tax_id_check_digit", "seller_tax_id")]),
        ({"buyer_tax_id": "91110108MA01A2B3C1"}, [("tax_id_check_digit", "buyer_tax_id")]),
        ({"buyer_tax_id": "123456789012345"}, []),  # an older id has no check digit
        ({"date": "2026/3/1", "total": 113}, [("repaired", "date"), ("repaired", "total")]),
    ],
)
def test_hints_of_a_digital_question(changes: Given, expected: list[tuple[str, str]]) -> None:
    """Each oddity of a question has its hint, and nothing else has one."""
    assert hints_of(DIGITAL.minimal() | changes) == expected


@pytest.mark.parametrize(
    ("kind", "differs"),
    [
        ("vat_e_ordinary", False),
        ("vat_toll", True),
        ("digital_paper_ordinary", True),
        ("digital_ordinary", True),
    ],
)
def test_a_kind_that_the_code_cannot_have(kind: str, differs: bool) -> None:
    """The caller's kind is held against its code, whatever the ledger says."""
    given = PAPER.full() | {"kind": kind}
    assert hints_of(given) == ([("kind_differs_from_code", "kind")] if differs else [])


def test_a_paper_twin_fits_the_code_of_its_stock() -> None:
    """A 数电纸质 invoice is printed on old stock, so its kind does not differ from the code."""
    sample = Sample(kind="digital_paper_special", code="1100221130", number="12345678")
    assert hints_of(sample.minimal() | {"kind": sample.kind}) == []


def test_a_number_of_eight_digits_has_no_year() -> None:
    """The year hint is about 20-digit numbers only."""
    assert hints_of(PAPER.minimal() | {"date": "2021-12-01"}) == []


@pytest.mark.parametrize(
    ("amount", "total", "swapped"),
    [
        ("113.00", "100.00", True),
        ("100.00", "113.00", False),
        ("100.00", "100.00", True),  # the total given twice: one of them is not what it says
        ("-113.00", "-100.00", True),
        ("-100.00", "-113.00", False),
        ("9.00", "10.00", False),  # compared as numbers
        (None, "100.00", False),
        ("100.00", None, False),
    ],
)
def test_swapped_amounts(amount: str | None, total: str | None, swapped: bool) -> None:
    """The amount without tax is below the total with tax, by what the caller gave."""
    expected = Hint("swapped_amounts", "amount") if swapped else None
    assert swapped_amounts(amount, total) == expected


@pytest.mark.parametrize(
    ("changes", "hinted"),
    [
        ({"amount": "113.00", "total": "100.00"}, True),
        ({"amount": "100.00", "total": "100.00"}, True),
        ({"amount": "100.01", "total": "113.00"}, False),
        ({"amount": "100.00", "total": "113.00", "date": "2026-03-02"}, False),
        ({"total": "100.00"}, False),  # the ledger's amount is not given away
    ],
)
def test_swapped_amounts_are_hinted_only_when_they_differ(changes: Given, hinted: bool) -> None:
    """Only a mismatch in the amounts brings the hint, decided from the caller's own fields."""
    answer = ask(DIGITAL.minimal() | changes, DIGITAL.record())
    assert answer.verdict == "mismatch"
    assert [hint.code for hint in answer.hints] == (["swapped_amounts"] if hinted else [])


def test_equal_amounts_that_match_bring_no_hint() -> None:
    """An invoice without tax has equal amounts, and they are right."""
    sample = Sample(amount="113.00", tax="0.00")
    answer = ask(sample.full() | {"amount": "113.00"}, sample.record())
    assert (answer.verdict, answer.hints) == ("match", ())


@pytest.mark.parametrize(
    ("qr", "codes"),
    [
        ("01,32,,26112000000000000001,113.00,20260301,,", []),
        ("01,32,,26112000000000000001,113.00,20260301,,0000", ["qr_checksum"]),
        (" 01,32,,26112000000000000001,113.00,20260301,, ", ["repaired"]),
        ("０１，３２，，26112000000000000001，113.00，20260301，，", ["repaired"]),
    ],
)
def test_a_scan_has_hints_of_its_own(qr: str, codes: list[Any]) -> None:
    """A wrong checksum and a repaired scan are hinted; a compact date is the scan's own form."""
    assert hints_of({"qr": qr}) == [(code, "qr") for code in codes]


# For each hint that a match can carry whose question spells every field as the ledger does: an
# invoice, and whether its question gives all fields.
WITNESSES = {
    "number_year": Sample(date="2025-03-01").minimal(),
    "tax_id_check_digit": Sample(seller_tax_id="91110108MA01A2B3C1").full(),
    "kind_differs_from_code": Sample(
        kind="vat_toll", code="011002300111", number="12345678", check_code="1" * 20
    ).full(),
}
# The others, and why ``agrees`` never sees a question that calls for them.
ELSEWHERE = {
    "repaired": "a field that was repaired is not spelt as in the ledger",
    "qr_checksum": "a question with a QR text has no raw key",
    "duplicate_in_request": "it is added to the answer, whatever that is",
    "swapped_amounts": "it goes with a mismatch alone",
}


def test_every_hint_is_kept_from_the_short_cut_somehow() -> None:
    """A new hint needs a witness here, or a reason why no match can lose it."""
    codes = get_args(get_type_hints(schemas.Hint)["code"])
    assert sorted(codes) == sorted([*WITNESSES, *ELSEWHERE])


@pytest.mark.parametrize(("code", "given"), WITNESSES.items(), ids=WITNESSES)
def test_the_short_cut_leaves_a_match_with_a_hint_to_the_judge(code: str, given: Given) -> None:
    """Else the question that spells the invoice as the ledger does would never get the hint."""
    sample = Sample(**{"check_code": "", **given})
    answer = ask(given, sample.record())
    assert (answer.verdict, [hint.code for hint in answer.hints]) == ("match", [code])
    assert not agrees(Question(**given), sample.record(), WINDOW)
