"""Tests of reading a line that is ingested into a row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.invoice.lines import CODES, DIGITAL, encoded, example, values
from verifier.invoice.claim import Invalid
from verifier.invoice.kinds import KINDS, Kind
from verifier.wire import lines as line_module
from verifier.wire.lines import COLUMNS, Row, read, read_many

CONFORMANCE = Path(__file__).parents[1] / "conformance" / "ledger.ndjson"


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
    unmentioned = read(encoded())
    assert isinstance(unmentioned, Row)
    assert read(encoded(red_letters=[])) == msgspec.structs.replace(unmentioned, red_letters="{}")


REFERENCE = '{"code":"","number":"26112000000000000009"}'
# Values that a line may have, as JSON has them; the second is another way to write it.
MEMBERS = {
    "code": ('""', "null"),
    "check_code": ('""', "null"),
    "seller_name": ('"a:b"', '"a\\u003ab"'),
    "buyer_name": ('"发票"', '"\\u53d1:"'),
    "region": ('"1100"', "null"),
    "issued_at": ('"2026-03-01T12:00:00Z"', '"2026-03-01T12\\u003a00:00+08:00"'),
    "red_letter_of": (REFERENCE, "null"),
    "red_letters": (f"[{REFERENCE},{REFERENCE}]", "[]"),
    "status": ('"normal"', '"voided"'),
}


@st.composite
def repeating(draw: st.DrawFn) -> tuple[bytes, set[str]]:
    """A line, and the names that it gives twice, however they are spelt."""
    names = [*draw(st.lists(st.sampled_from(sorted(MEMBERS)), max_size=6)), "status"]
    written = [
        f'"{name}":{draw(st.sampled_from(MEMBERS[name]))}'.replace(
            '"red', draw(st.sampled_from(['"red', '"r\\u0065d']))
        )
        for name in names
    ]
    rest = {name: value for name, value in example(DIGITAL).items() if name not in MEMBERS}
    text = json.dumps(rest)[:-1] + "".join([f",{member}" for member in written]) + "}"
    return text.encode(), {name for name in names if names.count(name) > 1}


@given(st.lists(repeating(), min_size=1, max_size=4))
@settings(max_examples=300)
def test_d22_repeats_are_found_among_many_lines(lines: list[tuple[bytes, set[str]]]) -> None:
    """Exactly the fields that a line gives twice are complained of, alone and among others."""
    texts = [text for text, _ in lines]
    outcomes = read_many(texts)
    assert outcomes == [read(text) for text in texts]
    for outcome, (text, twice) in zip(outcomes, lines, strict=True):
        complained: set[str] = set()
        if isinstance(outcome, Invalid):
            complained = {e.field for e in outcome.errors if e.code == "duplicate_field"}
        assert complained == twice, text


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
        assert outcome.errors == tuple(sorted(outcome.errors))
