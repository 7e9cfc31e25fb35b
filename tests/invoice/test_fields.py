"""Repairs and judgements of single fields against contract.md §1 and domain.md §2 to §5."""

from __future__ import annotations

import time
from datetime import date as Date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.invoice.samples import WINDOW, fen, yuan
from verifier.invoice import fields
from verifier.invoice.fields import FieldError
from verifier.invoice.kinds import KINDS

Outcome = str | FieldError


def code_of(outcome: Outcome) -> str:
    """The code of an error, or the text of a value."""
    return outcome.code if isinstance(outcome, FieldError) else outcome


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("1100221130", "1100221130"),
        ("011002300111", "011002300111"),
        ("０１１００２３００１１１", "011002300111"),
        (" 0110-0230 0111\t", "011002300111"),
        ("O11oo23oolIl", "011002300111"),
        ("0110\u20110230\u20140111", "011002300111"),
        ("0110\u22120230\uff0d0111", "011002300111"),
        ("０１１００２３００１１\u3000１", "011002300111"),
        ("01100230011", "bad_length"),
        ("0110023001111", "bad_length"),
        ("01100230011A", "bad_format"),
        ("01100230.111", "bad_format"),
        ("٠١١٠٠٢٣٠٠١١١", "bad_format"),  # digits of another script
        ("-- ", "bad_format"),
        ("0990023001111"[:12], "unknown_region"),
        ("9900221130", "unknown_region"),
    ],
)
def test_code(text: str, outcome: str) -> None:
    """A code is 10 or 12 digits of a known region once width, spaces and look-alikes are mended."""
    assert code_of(fields.parse_code(text)) == outcome


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("12345678", "12345678"),
        ("00000001", "00000001"),
        ("1234 5678", "12345678"),
        ("26112000000000000001", "26112000000000000001"),
        ("2611-2000-0000-0000-0001", "26112000000000000001"),
        ("26９１2000000000000001", "26912000000000000001"),
        ("2611200000000000000l", "26112000000000000001"),
        ("00000000", "bad_format"),
        ("OOOOOOOO", "bad_format"),
        ("1234567", "bad_length"),
        ("123456789", "bad_length"),
        ("2611200000000000001", "bad_length"),
        ("1234567X", "bad_format"),
        ("26992000000000000001", "unknown_region"),
        ("00000000000000000000", "unknown_region"),
    ],
)
def test_number(text: str, outcome: str) -> None:
    """A number is 8 digits other than zeros, or 20 with the digits of a known region."""
    assert code_of(fields.parse_number(text)) == outcome


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("2026-03-01", "2026-03-01"),
        ("2026-3-1", "2026-03-01"),
        ("2026/3/1", "2026-03-01"),
        ("2026/03/01", "2026-03-01"),
        ("20260301", "2026-03-01"),
        ("2026年3月1日", "2026-03-01"),
        ("2026 年 03 月 01 日", "2026-03-01"),
        ("２０２６－０３－０１", "2026-03-01"),
        ("２０２６年３月１日", "2026-03-01"),
        (" 2026-03-O1 ", "2026-03-01"),
        ("2024-02-29", "2024-02-29"),
        ("2026-02-29", "bad_format"),
        ("2026-13-01", "bad_format"),
        ("2026-00-10", "bad_format"),
        ("0000-01-01", "bad_format"),
        ("2026-03/01", "bad_format"),
        ("2026301", "bad_format"),
        ("202603011", "bad_format"),
        ("26-03-01", "bad_format"),
        ("2026-03-01T00:00:00", "bad_format"),
        ("03/01/2026", "bad_format"),
        ("today", "bad_format"),
        ("2026-11-24", "2026-11-24"),
        ("2026-11-25", "date_in_future"),
        ("9999-12-31", "date_in_future"),
        ("2021-11-24", "2021-11-24"),
        ("2021-11-23", "out_of_window"),
        ("0001-01-01", "out_of_window"),
    ],
)
def test_date(text: str, outcome: str) -> None:
    """A date comes in the four forms of the contract and lies within the last five years."""
    assert code_of(fields.parse_date(text, WINDOW.oldest, WINDOW.today)) == outcome


@pytest.mark.parametrize(
    ("today", "oldest"),
    [
        ("2026-11-24", "2021-11-24"),
        ("2028-02-28", "2023-02-28"),
        ("2028-02-29", "2023-02-28"),
        ("2028-03-01", "2023-03-01"),
        ("2029-03-01", "2024-03-01"),
    ],
)
def test_oldest_date(today: str, oldest: str) -> None:
    """The scope begins on the same day five years before, or on 28 February for a leap day."""
    assert fields.oldest_date(Date.fromisoformat(today)) == oldest


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        ("88", "88.00"),
        ("88.0", "88.00"),
        ("88.00", "88.00"),
        ("0", "0.00"),
        ("-0.00", "0.00"),
        ("-1234.5", "-1234.50"),
        ("+1.00", "1.00"),
        ("007", "7.00"),
        ("1,234.50", "1234.50"),
        ("¥1,234.50", "1234.50"),
        ("￥１，２３４．５０", "1234.50"),
        ("-¥5", "-5.00"),
        ("¥-5", "-5.00"),
        ("\u22125.00", "-5.00"),
        (" 1 234.50 ", "1234.50"),
        ("12345678901.23", "12345678901.23"),
        ("000000012345678901.23", "12345678901.23"),
        ("123456789012", "out_of_range"),
        ("9" * 5000, "out_of_range"),
        ("1.234", "bad_format"),
        ("1.000", "bad_format"),
        ("1.", "bad_format"),
        (".5", "bad_format"),
        ("1,23.00", "bad_format"),
        ("1,2345", "bad_format"),
        (",123", "bad_format"),
        ("1e2", "bad_format"),
        ("NaN", "bad_format"),
        ("$5", "bad_format"),
        ("5元", "bad_format"),
        ("¥¥5", "bad_format"),
        ("--5", "bad_format"),
        ("٥", "bad_format"),
        (" ", "bad_format"),
        (113, "113.00"),
        (-113, "-113.00"),
        (0, "0.00"),
        (10**11 - 1, "99999999999.00"),
        (10**11, "out_of_range"),
        (10**4000, "out_of_range"),
        (Decimal("113.0"), "113.00"),
        (Decimal("0.1"), "0.10"),
        (Decimal("-0.0"), "0.00"),
        (Decimal("12345678901.23"), "12345678901.23"),
        (Decimal("1e2"), "100.00"),
        (Decimal("113.000"), "113.00"),
        (Decimal("0.001"), "bad_format"),
        (Decimal("113." + "0" * 27 + "1"), "bad_format"),  # more digits than a context keeps
        (Decimal("1E+999999999"), "out_of_range"),
        (Decimal("1E-999999999"), "out_of_range"),
        (Decimal("Infinity"), "out_of_range"),
        (Decimal("NaN"), "out_of_range"),
    ],
)
def test_money(value: str | int | Decimal, outcome: str) -> None:
    """An amount is taken exactly, with at most 11 integer digits and 2 decimals."""
    assert code_of(fields.parse_money("total", value)) == outcome


@given(fen)
def test_money_keeps_every_fen(amount: int) -> None:
    """Canonical money, and the JSON number of the same value, come out as they are."""
    text = yuan(amount)
    assert fields.parse_money("amount", text) == text
    assert fields.parse_money("amount", Decimal(text)) == text
    assert fields.fen(text) == amount


@pytest.mark.parametrize(
    ("text", "kind", "outcome"),
    [
        ("123456", "vat_ordinary", "123456"),
        ("123 456", "vat_ordinary", "123456"),
        ("12345 67890 12345 67890", "vat_ordinary", "12345678901234567890"),
        ("１２３４５６", "vat_ordinary", "123456"),
        ("12345l", "vat_ordinary", "123451"),
        ("12345", "vat_ordinary", "bad_length"),
        ("1234567", "vat_ordinary", "bad_length"),
        ("12345A", "vat_ordinary", "bad_format"),
        ("a1b2c", "blockchain", "a1b2c"),
        ("A1-B2 C", "blockchain", "A1B2C"),
        ("O1lI0", "blockchain", "O1lI0"),  # letters are letters here
        ("123456", "blockchain", "bad_length"),
        ("a1b2é", "blockchain", "bad_format"),
        ("a1b2c", None, "a1b2c"),
        ("123456", None, "123456"),
        ("1234567", None, "bad_length"),
    ],
)
def test_check_code(text: str, kind: str | None, outcome: str) -> None:
    """A check code has 6 or 20 digits, or 5 characters on a blockchain."""
    assert code_of(fields.parse_check_code(text, kind)) == outcome


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("91110108MA01A2B3C4", "91110108MA01A2B3C4"),
        ("91110108ma01a2b3c4", "91110108MA01A2B3C4"),
        ("９１１１０１０８ＭＡ０１Ａ２Ｂ３Ｃ４", "91110108MA01A2B3C4"),
        ("91110108 MA01-A2B3 C4", "91110108MA01A2B3C4"),
        ("123456789012345", "123456789012345"),
        ("12345678901234567890", "12345678901234567890"),
        ("12345678901234", "bad_length"),
        ("123456789012345678901", "bad_length"),
        ("91110108MA01A2B3C_", "bad_format"),
        ("九1110108MA01A2B3C4", "bad_format"),
        ("ßßßßßßßß", "bad_format"),  # capitals of it would be sixteen S
    ],
)
def test_tax_id(text: str, outcome: str) -> None:
    """A taxpayer id is 15 to 20 digits and letters, which come out as capitals."""
    assert code_of(fields.parse_tax_id("seller_tax_id", text)) == outcome


@pytest.mark.parametrize("text", [" VAT_Special ", "ｖａｔ＿ｓｐｅｃｉａｌ", "vat_special"])
def test_kind(text: str) -> None:
    """A kind is known by its name, in any case and width."""
    assert fields.parse_kind(text) == "vat_special"


@pytest.mark.parametrize("text", ["专票", "01", "vat special", "vat_special_"])
def test_unknown_kind_names_the_known_ones(text: str) -> None:
    """What is no kind is refused with the list of those that are."""
    assert fields.parse_kind(text) == FieldError("kind", "unknown_kind", " ".join(KINDS))


@given(st.text())
def test_no_text_raises(text: str) -> None:
    """Any text comes out as canonical text or as an error of its own field."""
    for field, outcome in (
        ("code", fields.parse_code(text)),
        ("number", fields.parse_number(text)),
        ("date", fields.parse_date(text, WINDOW.oldest, WINDOW.today)),
        ("amount", fields.parse_money("amount", text)),
        ("check_code", fields.parse_check_code(text, None)),
        ("check_code", fields.parse_check_code(text, "blockchain")),
        ("buyer_tax_id", fields.parse_tax_id("buyer_tax_id", text)),
        ("kind", fields.parse_kind(text)),
    ):
        if isinstance(outcome, FieldError):
            assert outcome.field == field
        else:
            assert outcome.isascii()


def test_composing_characters_cost_no_more_than_any_others() -> None:
    """A body full of combining marks, whose order costs the square of them, takes no time."""
    marks = "1" + "\u0301\u0316" * 16_000  # 64 KB: 0.8 s to put in order
    started = time.process_time()
    assert code_of(fields.parse_number(marks)) == "bad_format"
    assert code_of(fields.parse_money("total", marks)) == "bad_format"
    assert time.process_time() - started < 0.2
