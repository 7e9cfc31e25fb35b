"""Tests of reading a line of the ledger feed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.invoice import line as line_module
from verifier.invoice.fields import FieldError
from verifier.invoice.kinds import KINDS, STATUSES, Kind
from verifier.invoice.line import COLUMNS, Row, StatusChange, read, read_status
from verifier.invoice.line_checks import is_date, is_moment

CONFORMANCE = Path(__file__).parents[1] / "conformance" / "ledger.ndjson"

CODES = {10: "1100261130", 12: "011002600111"}


def example(kind: Kind, **changes: Any) -> dict[str, Any]:
    """A canonical line of a kind."""
    check_code = ""
    if "check_code" in kind.factors:
        check_code = {"blockchain": "a1B2c", "digital_paper_ordinary": "012345"}.get(
            kind.name, "01234567890123456789"
        )
    return {
        "kind": kind.name,
        "code": "" if kind.digital else CODES[kind.code_lengths[-1]],
        "number": "26112000000000000001" if kind.digital else "12345678",
        "date": "2026-03-01",
        "amount": "100.00",
        "tax": "13.00",
        "total": "113.00",
        "check_code": check_code,
        "seller_tax_id": "91110108MA01ABCD12",
        "seller_name": "测试销售有限公司",
        "buyer_tax_id": "",
        "buyer_name": "测试个人",
        "status": "normal",
        **changes,
    }


DIGITAL = KINDS["digital_ordinary"]


def encoded(**changes: Any) -> bytes:
    """A line of a digital invoice with changes; None leaves a member out."""
    members = example(DIGITAL, **changes)
    return msgspec.json.encode({k: v for k, v in members.items() if v is not None})


def values(row: object) -> dict[str, str]:
    """The values of a row by column."""
    assert isinstance(row, Row)
    return dict(zip(COLUMNS, row.text.split("\t"), strict=True))


def errors(outcome: object) -> list[tuple[str, str]]:
    """Field and code of each error."""
    assert isinstance(outcome, tuple)
    assert all(isinstance(error, FieldError) for error in outcome)
    return [(error.field, error.code) for error in outcome]


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind_has_canonical_lines(kind: Kind) -> None:
    """A canonical line of every kind is read on the short way, with each length of code."""
    for length in kind.code_lengths or (0,):
        members = example(kind, **({"code": CODES[length]} if length else {}))
        row = read(msgspec.json.encode(members))
        assert isinstance(row, Row), row
        key = f"{members['code']}-{members['number']}" if length else members["number"]
        assert row.key == key
        assert values(row) == {
            "key": key,
            "kind": kind.name,
            "issue_date": "2026-03-01",
            "amount": "100.00",
            "tax": "13.00",
            "total": "113.00",
            "check_code": members["check_code"],
            "status": "normal",
            "seller_tax_id": "91110108MA01ABCD12",
            "seller_name": "测试销售有限公司",
            "buyer_tax_id": "",
            "buyer_name": "测试个人",
            "red_letter_of": "\\N",
            "issued_at": "\\N",
        }


def test_conformance_ledger_is_read_on_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line of the conformance ledger is canonical, so that none is looked at twice."""
    monkeypatch.delattr(line_module, "canonical")
    lines = CONFORMANCE.read_bytes().splitlines()
    assert len(lines) == 365
    assert all(isinstance(read(line), Row) for line in lines)


@pytest.mark.parametrize(
    ("literal", "money"),
    [
        ('"88"', "88.00"),
        ('"88.5"', "88.50"),
        ('"-0.5"', "-0.50"),
        ('"99999999999.99"', "99999999999.99"),
        ("88", "88.00"),
        ("-88.5", "-88.50"),
        ("88.50", "88.50"),
        ("0.1", "0.10"),
        ("-0.0", "0.00"),
        ("1.2e1", "12.00"),
        ("99999999999.99", "99999999999.99"),
    ],
)
def test_amounts_are_made_canonical(literal: str, money: str) -> None:
    """Amounts may be JSON numbers or lack decimals; they come out with two, digit for digit."""
    given_line = encoded(tax="TAX").replace(b'"TAX"', literal.encode())
    assert values(read(given_line))["tax"] == money


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
        ({"region": "3100"}, [("region", "bad_format")]),
        ({"issued_at": "2026-03-01"}, [("issued_at", "bad_format")]),
        ({"issued_at": "2026-03-01T12:00:00"}, [("issued_at", "bad_format")]),
        ({"issued_at": "2026-03-01T25:00:00Z"}, [("issued_at", "bad_format")]),
        ({"issued_at": "2026-03-01T12:00:00+15:00"}, [("issued_at", "bad_format")]),
        ({"red_letter_of": "26112000000000000002"}, [("red_letter_of", "bad_format")]),
        ({"red_letter_of": {"number": "1"}}, [("red_letter_of", "bad_format")]),
        ({"red_letter_of": {"number": "26112000000000000001"}}, [("red_letter_of", "bad_format")]),
        ({"red_letter_of": {"number": "26112000000000000002", "x": 1}}, [("red_letter_of", "bad_format")]),
        ({"red_letters": {}}, [("red_letters", "bad_format")]),
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
    assert errors(read(encoded(**changes))) == expected


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("vat_special", {"code": ""}, [("code", "required")]),
        ("vat_special", {"code": "011002600111"}, [("code", "bad_length")]),
        ("vat_special", {"code": "1x00261130"}, [("code", "bad_format")]),
        ("vat_special", {"code": "9900261130"}, [("code", "unknown_region")]),
        ("vat_special", {"number": "00000000"}, [("number", "bad_format")]),
        ("vat_special", {"number": "26112000000000000001"}, [("number", "bad_length")]),
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
    assert (errors(outcome) if isinstance(outcome, tuple) else []) == expected


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


def test_null_is_absence() -> None:
    """An optional member that is null is as if it were not there."""
    optional = dict.fromkeys(
        (
            "code", "check_code", "seller_tax_id", "seller_name", "buyer_tax_id", "buyer_name",
            "region", "red_letter_of", "red_letters", "issued_at",
        )
    )  # fmt: skip
    members = example(DIGITAL) | optional
    without = {name: value for name, value in members.items() if value is not None}
    row = read(msgspec.json.encode(members))
    assert row == read(msgspec.json.encode(without))
    assert values(row)["buyer_name"] == ""


def test_names_are_escaped_for_copy() -> None:
    """Tabs, line ends and backslashes in names neither end a value nor a row."""
    row = read(encoded(seller_name="a\tb\nc\rd\\e", buyer_name="\\N"))
    shown = values(row)
    assert shown["seller_name"] == "a\\tb\\nc\\rd\\\\e"
    assert shown["buyer_name"] == "\\\\N"


def test_references_become_keys() -> None:
    """Red letters are an array of sorted keys without repeats; the blue invoice is a key."""
    old = {"code": "011002600111", "number": "00000001"}
    new = {"number": "26112000000000000007"}
    row = read(encoded(red_letter_of=old, red_letters=[new, old, new], region="1100"))
    assert isinstance(row, Row)
    assert row.red_letter_of == "011002600111-00000001"
    assert row.red_letters == "{011002600111-00000001,26112000000000000007}"
    assert read(encoded(red_letters=[])) == msgspec.structs.replace(
        read(encoded()),
        red_letters="{}",  # type: ignore[type-var]
    )


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
WILD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False),
    TEXT, st.sampled_from(["", "normal", "1100", "2026-03-01", "2026-02-29", "113.00", "88"]),
    st.lists(st.integers(), max_size=2), st.dictionaries(TEXT, TEXT, max_size=2),
)  # fmt: skip


@given(
    kind=st.sampled_from(sorted(KINDS)),
    changes=st.dictionaries(
        st.one_of(st.sampled_from([*example(DIGITAL), "red_letters", "issued_at", "region"]), TEXT),
        WILD,
        max_size=3,
    ),
    amount=st.decimals(min_value="-99999999999", max_value="99999999999", places=2),
    name=TEXT,
)
def test_both_ways_agree(kind: str, changes: dict[str, Any], amount: Any, name: str) -> None:
    """What the short way accepts, the long way accepts with the same row; neither ever raises."""
    members = example(KINDS[kind], amount=f"{amount:.2f}", seller_name=name) | changes
    data = json.dumps(members, ensure_ascii=False).encode()
    outcome = read(data)
    carefully = line_module._read_carefully(data)
    if isinstance(outcome, Row):
        assert isinstance(carefully, Row)
        # Minus nothing is nothing, which PostgreSQL sees to as well.
        assert outcome.text.replace("\t-0.00", "\t0.00") == carefully.text
        assert outcome.red_letters == carefully.red_letters
        assert len(outcome.text.split("\t")) == len(COLUMNS)
    else:
        assert outcome == carefully
        assert outcome == tuple(sorted(outcome))


@pytest.mark.parametrize("status", STATUSES)
def test_status_lines(status: str) -> None:
    """A status line names the invoice, its status, and the red letter if any."""
    digital = {"number": "26112000000000000001", "status": status}
    assert read_status(msgspec.json.encode(digital)) == StatusChange(
        "26112000000000000001", status, ""
    )
    old = {
        "code": "011002600111",
        "number": "12345678",
        "status": status,
        "red_letter": {"code": "", "number": "26112000000000000002"},
    }
    assert read_status(msgspec.json.encode(old)) == StatusChange(
        "011002600111-12345678", status, "26112000000000000002"
    )
    absent = {**digital, "code": None, "red_letter": None}
    assert read_status(msgspec.json.encode(absent)) == StatusChange(
        "26112000000000000001", status, ""
    )


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, [("number", "required"), ("status", "required")]),
        ({"number": "12345678", "status": "voided"}, [("code", "required")]),
        (
            {"code": "011002600111", "number": "26112000000000000001", "status": "voided"},
            [("code", "not_applicable")],
        ),
        ({"number": "26112000000000000001", "status": "x"}, [("status", "bad_format")]),
        ({"number": "1", "status": "voided", "x": 1}, [("number", "bad_length"), ("x", "unknown_field")]),
        (
            {"number": "26112000000000000001", "status": "voided", "red_letter": {"number": "1"}},
            [("red_letter", "bad_format")],
        ),
        (
            {
                "number": "26112000000000000001",
                "status": "voided",
                "red_letter": {"number": "26112000000000000001"},
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
