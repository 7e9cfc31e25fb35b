"""Tests of what is wrong with a line that is ingested."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.invoice.lines import NUMBER, OTHER, encoded, errors, example
from verifier.invoice.claim import Invalid
from verifier.invoice.forms import is_date, is_moment
from verifier.invoice.kinds import KINDS, STATUSES
from verifier.wire.lines import read
from verifier.wire.status_lines import StatusChange, read_status


@pytest.mark.parametrize(
    ("literal", "code"),
    [
        ('"88.005"', "bad_format"),
        ("88.005", "bad_format"),
        ('"1,000.00"', "bad_format"),
        ('"+1.00"', "bad_format"),
        ('"01.00"', "bad_format"),
        ('"1e3"', "bad_format"),
        ('"88．00"', "bad_format"),
        ("true", "bad_format"),
        ("[]", "bad_format"),
        ('"100000000000"', "out_of_range"),
        ("100000000000", "out_of_range"),
        ("1e400", "out_of_range"),
        ("1e99999999999999999999", "out_of_range"),
        ("1e-99999999999999999999", "out_of_range"),
        ("9" * 4000, "out_of_range"),
        ('""', "required"),
        ("null", "required"),
    ],
)
def test_amounts_that_are_none(literal: str, code: str) -> None:
    """What is no amount of at most 11 digits and 2 decimals is rejected, not rounded."""
    given_line = encoded(tax="TAX").replace(b'"TAX"', literal.encode())
    assert errors(read(given_line)) == [("tax", code)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kind": None}, [("kind", "required")]),
        ({"kind": "vat"}, [("kind", "unknown_kind")]),
        ({"kind": 1}, [("kind", "unknown_kind")]),
        ({"number": None}, [("number", "required")]),
        ({"number": "2611200000000000000"}, [("number", "bad_length")]),
        ({"number": "2611200000000000000x"}, [("number", "bad_format")]),
        ({"number": "２6112000000000000001"}, [("number", "bad_format")]),
        ({"number": 26112000000000000001}, [("number", "bad_format")]),
        ({"number": "26992000000000000001"}, [("number", "unknown_region")]),
        ({"code": "011002600111"}, [("code", "not_applicable")]),
        ({"date": None}, [("date", "required")]),
        ({"date": "2026-02-30"}, [("date", "bad_format")]),
        ({"date": "2026-2-3"}, [("date", "bad_format")]),
        ({"date": "20260203"}, [("date", "bad_format")]),
        ({"date": "２026-02-03"}, [("date", "bad_format")]),
        ({"status": None}, [("status", "required")]),
        ({"status": "lost"}, [("status", "bad_format")]),
        ({"status": ["normal"]}, [("status", "bad_format")]),
        ({"check_code": "123456"}, [("check_code", "bad_length")]),
        ({"check_code": "0123456789012345678x"}, [("check_code", "bad_format")]),
        ({"seller_tax_id": "91110108ma01abcd12"}, [("seller_tax_id", "bad_format")]),
        ({"seller_tax_id": "9" * 21}, [("seller_tax_id", "bad_length")]),
        ({"buyer_tax_id": 5}, [("buyer_tax_id", "bad_format")]),
        ({"seller_name": "名" * 301}, [("seller_name", "bad_length")]),
        ({"buyer_name": "a\0b"}, [("buyer_name", "bad_format")]),
        ({"buyer_name": 1.5}, [("buyer_name", "bad_format")]),
        ({"region": "9999"}, [("region", "unknown_region")]),
        ({"region": ["1100"]}, [("region", "unknown_region")]),
        ({"region": "3100"}, [("region", "bad_format")]),
        ({"issued_at": "2026-03-01"}, [("issued_at", "bad_format")]),
        ({"issued_at": "2026-03-01T12:00:00"}, [("issued_at", "bad_format")]),
        ({"issued_at": "2026-03-01T25:00:00Z"}, [("issued_at", "bad_format")]),
        ({"issued_at": "2026-03-01T12:00:00+15:00"}, [("issued_at", "bad_format")]),
        ({"red_letter_of": OTHER}, [("red_letter_of", "bad_format")]),
        ({"red_letter_of": {"number": "1"}}, [("red_letter_of", "bad_format")]),
        ({"red_letter_of": {"number": NUMBER}}, [("red_letter_of", "bad_format")]),
        ({"red_letter_of": {"number": OTHER, "x": 1}}, [("red_letter_of", "bad_format")]),
        ({"red_letters": {}}, [("red_letters", "bad_format")]),
        ({"red_letters": [{"number": OTHER}] * 100}, []),
        ({"red_letters": [{"number": OTHER}] * 101}, [("red_letters", "bad_length")]),
        ({"region": ""}, [("region", "unknown_region")]),
        ({"kind": "digital_ordinary\0"}, [("kind", "bad_format")]),
        ({"red_letters": [{"code": "1", "number": "2"}]}, [("red_letters", "bad_format")]),
        ({"chek_code": ""}, [("chek_code", "unknown_field")]),
        (
            {"total": "x", "date": "x", "surplus": 1, "kind": "vat"},
            [
                ("date", "bad_format"),
                ("kind", "unknown_kind"),
                ("surplus", "unknown_field"),
                ("total", "bad_format"),
            ],
        ),
    ],
)  # fmt: skip
def test_bad_fields_are_named(changes: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """Each bad field is reported once, sorted by field, and causes no error in another."""
    outcome = read(encoded(**changes))
    assert (errors(outcome) if isinstance(outcome, Invalid) else []) == expected


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("vat_special", {"code": ""}, [("code", "required")]),
        ("vat_special", {"code": "011002600111"}, [("code", "bad_length")]),
        ("vat_special", {"code": "1x00261130"}, [("code", "bad_format")]),
        ("vat_special", {"code": "9900261130"}, [("code", "unknown_region")]),
        ("vat_special", {"number": "00000000"}, [("number", "bad_format")]),
        ("vat_special", {"number": NUMBER}, [("number", "bad_length")]),
        ("vat_special", {"check_code": "1" * 20}, []),
        ("vat_e_ordinary", {"check_code": ""}, [("check_code", "required")]),
        ("vat_e_ordinary", {"check_code": "123456"}, [("check_code", "bad_length")]),
        ("blockchain", {"check_code": "a1B2"}, [("check_code", "bad_length")]),
        ("blockchain", {"check_code": "a1B2-"}, [("check_code", "bad_format")]),
        ("blockchain", {"check_code": ""}, [("check_code", "required")]),
        ("digital_paper_ordinary", {"check_code": "1" * 20}, [("check_code", "bad_length")]),
        ("digital_paper_special", {"check_code": ""}, []),
    ],
)
def test_rules_that_depend_on_the_kind(
    kind: str, changes: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    """Code, number and check code are those that the kind has (domain.md §2)."""
    outcome = read(msgspec.json.encode(example(KINDS[kind], **changes)))
    assert (errors(outcome) if isinstance(outcome, Invalid) else []) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"nonsense",
        b"[]",
        b"1",
        b'"x"',
        b"{",
        b'{"seller_name": "\\ud800"}',
        b'{"seller_name": "\xff"}',
        b'{"seller_name": "\xed\xa0\x80"}',
        b'{"a":' * 5000,
        b"9" * 5000,
    ],
)
def test_what_is_no_json_object(text: bytes) -> None:
    """A line that is no JSON object in UTF-8 is one error of the line as a whole."""
    assert errors(read(text)) == [("", "bad_format")]
    assert errors(read_status(text)) == [("", "bad_format")]


@pytest.mark.parametrize("status", STATUSES)
def test_status_lines(status: str) -> None:
    """A status line names the invoice, its status, and the red letter if any."""
    digital = {"number": NUMBER, "status": status}
    assert read_status(msgspec.json.encode(digital)) == StatusChange(NUMBER, status, "")
    old = {
        "code": "011002600111",
        "number": "12345678",
        "status": status,
        "red_letter": {"code": "", "number": OTHER},
    }
    assert read_status(msgspec.json.encode(old)) == StatusChange(
        "011002600111-12345678", status, OTHER
    )
    absent = {**digital, "code": None, "red_letter": None}
    assert read_status(msgspec.json.encode(absent)) == StatusChange(NUMBER, status, "")


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, [("number", "required"), ("status", "required")]),
        ({"number": "12345678", "status": "voided"}, [("code", "required")]),
        (
            {"code": "011002600111", "number": NUMBER, "status": "voided"},
            [("code", "not_applicable")],
        ),
        ({"number": NUMBER, "status": "x"}, [("status", "bad_format")]),
        (
            {"number": "1", "status": "voided", "x": 1},
            [("number", "bad_length"), ("x", "unknown_field")],
        ),
        (
            {"number": NUMBER, "status": "voided", "red_letter": {"number": "1"}},
            [("red_letter", "bad_format")],
        ),
        (
            {
                "number": NUMBER,
                "status": "voided",
                "red_letter": {"number": NUMBER},
            },
            [("red_letter", "bad_format")],
        ),
    ],
)  # fmt: skip
def test_bad_status_lines(members: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """Each bad field of a status line is named."""
    assert errors(read_status(msgspec.json.encode(members))) == expected


@pytest.mark.parametrize(
    ("text", "day"),
    [("2024-02-29", True), ("2023-02-29", False), ("0000-01-01", False), ("2024-W01-1", False)],
)
def test_days_of_the_calendar(text: str, day: bool) -> None:
    """Only days that exist are dates."""
    assert is_date(text) is day


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-01T12:00:00Z", True),
        ("2026-03-01T12:00:00.123456789+08:00", True),
        ("0001-01-01T00:00:00+14:00", True),
        ("2026-03-01T12:00:60Z", False),
        ("2026-03-01 12:00:00Z", False),
        ("2026-02-30T12:00:00Z", False),
    ],
)
def test_moments(text: str, moment: bool) -> None:
    """Moments are those of RFC 3339 that PostgreSQL takes too."""
    assert is_moment(text) is moment
