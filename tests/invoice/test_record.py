"""Record: keys, the fast path's preparations, and the encoded invoice."""

from __future__ import annotations

import gc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.invoice.samples import READING, Sample, digits, samples, told_by
from verifier.invoice.identity import identity_of, key_of
from verifier.invoice.record import (
    ASKS_AMOUNT,
    ASKS_AMOUNT_AND_CHECK_CODE,
    ASKS_CHECK_CODE,
    ASKS_MORE,
    ASKS_TOTAL,
    asks_of,
)
from verifier.wire import schemas
from verifier.wire.records import Record, build


@given(st.one_of(st.just(""), digits(10), digits(12)), digits(8), digits(20))
def test_keys_are_the_identity(code: str, short: str, long: str) -> None:
    """A key gives back its identity, and no two identities share one."""
    number = short if code else long
    key = key_of(code, number)
    assert identity_of(key) == (code, number)
    assert key == (f"{code}-{number}" if code else number)


def test_a_code_with_a_number_is_no_number_of_twenty_digits() -> None:
    """A 12-digit code followed by 8 digits stays apart from the same 20 digits alone."""
    assert key_of("261120000000", "00000001") != key_of("", "26112000000000000001")


@given(samples())
def test_the_encoded_invoice_is_the_contract_s(sample: Sample) -> None:
    """The prepared bytes are the ``invoice`` member of an answer, field by field."""
    record = sample.record()
    invoice = msgspec.convert(told_by(record)["invoice"], type=schemas.Invoice)
    shown = msgspec.structs.asdict(invoice)
    for name in ("kind", "code", "number", "date", "amount", "tax", "total"):
        assert shown[name] == getattr(sample, name)
    for name in ("seller_tax_id", "seller_name", "buyer_tax_id", "buyer_name"):
        assert shown[name] == getattr(sample, name)
    assert (shown["red_letter_of"], shown["red_letters"]) == (None, [])
    assert [*told_by(record)["invoice"], "red_letters_count"] == [
        *schemas.Invoice.__struct_fields__
    ]


def build_with(*, red_letter_of: str = "", red_letters: str = "", **changes: str) -> Record:
    """The record of a row with red letters as the look-up has them."""
    row: dict[str, Any] = msgspec.structs.asdict(Sample(**changes))
    row.pop("code")
    row["key"] = row.pop("number")
    for name in ("seller_name", "buyer_name"):
        row[name] = msgspec.json.encode(row[name])
    return build(**row, red_letter_of=red_letter_of, red_letters=red_letters, reading=READING)


def linked(**red_letters: str) -> dict[str, Any]:
    """The invoice that a record with red letters shows."""
    shown: dict[str, Any] = told_by(build_with(**red_letters))["invoice"]
    return shown


NASTY = ['"', '"buyer_tax_id":"x"', "\\", '\\"', "\n\0", "引号”", "\u2028", "😀", ""]


@pytest.mark.parametrize("name", NASTY)
def test_tax_ids_are_read_from_the_bytes_whatever_the_names(name: str) -> None:
    """No seller's or buyer's name can pass for a tax id."""
    record = Sample(
        seller_tax_id="123456789012345",
        seller_name=name,
        buyer_tax_id="543210987654321",
        buyer_name=name,
    ).record()
    assert record.seller_tax_id == "123456789012345"
    assert record.buyer_tax_id == "543210987654321"
    assert told_by(record)["invoice"]["seller_name"] == name


def test_absent_tax_ids_are_empty() -> None:
    """A buyer without a tax id has an empty one."""
    record = Sample(seller_tax_id="", buyer_tax_id="").record()
    assert (record.seller_tax_id, record.buyer_tax_id) == ("", "")


def test_red_letters_are_shown_by_identity() -> None:
    """A red letter links to its blue original and a flushed invoice to its red letters."""
    shown = linked(
        red_letter_of="011002300111-12345678",
        red_letters="2,26112000000000000002,1100221130-00000001",
    )
    assert shown["red_letter_of"] == {"code": "011002300111", "number": "12345678"}
    assert shown["red_letters"] == [
        {"code": "", "number": "26112000000000000002"},
        {"code": "1100221130", "number": "00000001"},
    ]
    assert "red_letters_count" not in shown


def test_c17_of_many_red_letters_the_first_are_shown_with_their_number() -> None:
    """However many red letters the ledger has, an answer shows 20 and says how many there are."""
    keys = [f"261120000000{number:08d}" for number in range(2_000)]
    shown = linked(red_letters=f"{len(keys)},{','.join(keys)}")
    assert [letter["number"] for letter in shown["red_letters"]] == keys[:20]
    assert shown["red_letters_count"] == 2_000
    msgspec.convert(shown, type=schemas.Invoice)


@pytest.mark.parametrize("name", ["x" * 301, "名" * 1_000_000, "\x01" * 301])
def test_c17_a_record_is_bounded_whatever_the_names(name: str) -> None:
    """Names that plain SQL made longer than a line may have are cut, and the tax ids kept."""
    keys = ",".join(["011002300111-12345678"] * 20)
    row = {"seller_name": name, "buyer_name": name, "seller_tax_id": "123456789012345"}
    record = build_with(**row, red_letters=f"99,{keys}")
    shown = told_by(record)["invoice"]
    assert len(record.members) < 6_000
    assert {len(shown["seller_name"]), len(shown["buyer_name"])} <= {300, 301}
    assert record.seller_tax_id == "123456789012345"


@pytest.mark.parametrize(
    ("kind", "code", "asks"),
    [
        ("vat_special", "1100221130", ASKS_AMOUNT),
        ("digital_paper_special", "1100221130", ASKS_AMOUNT),
        ("digital_paper_ordinary", "1100221330", ASKS_CHECK_CODE),
        ("vat_e_ordinary", "011002300111", ASKS_CHECK_CODE),
        ("used_vehicle", "011002300117", ASKS_TOTAL),
        ("blockchain", "144032309110", ASKS_AMOUNT_AND_CHECK_CODE),
        ("digital_special", "", ASKS_TOTAL),
        ("rail_ticket", "", ASKS_TOTAL),
        ("vat_special", "1100221030", ASKS_MORE),  # the code does not say
        ("vat_toll", "011002300111", ASKS_MORE),  # the code says another kind
    ],
)
def test_what_a_question_without_a_kind_must_supply(kind: str, code: str, asks: str) -> None:
    """The factor follows from the code, as a caller's would; the names compare by identity."""
    assert asks_of(kind, code) is asks


@given(samples())
def test_a_number_of_another_year_asks_more(sample: Sample) -> None:
    """A 20-digit number whose year is not the date's calls for a hint by itself."""
    other = not sample.code and sample.number[:2] != sample.date[2:4]
    if not sample.code:
        assert (sample.record().traits.asks is ASKS_MORE) is other


def test_records_are_cheap_to_keep() -> None:
    """Records are invisible to the collector and share their traits and dates."""
    one, other = Sample().record(), Sample(number="26112000000000000002").record()
    assert not gc.is_tracked(one)
    assert one.traits is other.traits
    assert one.date is other.date
