"""QR strings against domain.md §6 and the conformance set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.invoice import qr
from verifier.invoice.qr import Scan

CONFORMANCE = Path(__file__).parents[1] / "conformance"
OLD = "01,10,011002300111,12345678,100.00,20260301,12345678901234567890"
DIGITAL = "01,32,,26112000000000000001,113.00,20260301,"


def cases() -> list[dict[str, Any]]:
    """All questions of the conformance set that are asked by QR string."""
    lines = (CONFORMANCE / "cases.ndjson").read_text(encoding="utf-8").splitlines()
    return [case for case in map(json.loads, lines) if "qr" in case["request"]]


def ledger() -> dict[str, dict[str, Any]]:
    """The conformance ledger by number."""
    lines = (CONFORMANCE / "ledger.ndjson").read_text(encoding="utf-8").splitlines()
    return {line["number"]: line for line in map(json.loads, lines)}


def test_crc_has_its_check_value() -> None:
    """The checksum of 123456789 is FEE8, and 4B37 in the reflected form."""
    assert qr.crc("123456789") == "FEE8"
    assert qr.crc_modbus("123456789") == "4B37"
    assert qr.crc("") == "0000"


@given(st.text())
def test_crc_of_a_text_with_its_crc_is_zero(text: str) -> None:
    """A text followed by its own two checksum bytes has the checksum 0, as every CRC has."""
    data = text.encode("latin-1", "replace").decode("latin-1")
    ascii_only = "".join(character for character in data if character.isascii())
    checksum = int(qr.crc(ascii_only), 16)
    assert qr._feed(0, ascii_only.encode() + checksum.to_bytes(2, "big")) == 0


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["id"])
def test_conformance(case: dict[str, Any]) -> None:
    """Every scan of the conformance set gives the fields of its invoice and the right checksum."""
    scan = qr.parse(case["request"]["qr"])
    assert scan is not None
    assert scan.number is not None
    assert scan.date is not None
    invoice = ledger()[scan.number]
    assert (scan.code or "") == invoice["code"]
    assert scan.date == invoice["date"].replace("-", "")
    money, absent = (scan.amount, scan.total) if scan.code else (scan.total, scan.amount)
    assert absent is None
    assert money is not None
    assert float(money) == float(invoice["amount" if scan.code else "total"])
    assert (scan.check_code or "") == invoice["check_code"]
    sort = case["id"].split("-")[0]
    assert scan.checksum_ok is {"qr": True, "qrcrc": False, "qr7": None}[sort]


@pytest.mark.parametrize("body", [OLD, DIGITAL], ids=["old", "digital"])
@pytest.mark.parametrize("comma", [False, True])
@pytest.mark.parametrize("ending", ["", ",", " ", ",\r\n"])
@pytest.mark.parametrize("lower", [False, True])
def test_both_checksums_in_all_spellings(body: str, comma: bool, ending: str, lower: bool) -> None:
    """The CRC counts with or without the comma before it, in either case, whatever follows."""
    checksum = qr.crc(f"{body}," if comma else body)
    text = f" {body},{checksum.lower() if lower else checksum}{ending}"
    scan = qr.parse(text)
    assert scan is not None
    assert scan.checksum_ok is True


@pytest.mark.parametrize("ending", ["", ",", ",,", ", ,"])
def test_without_a_checksum(ending: str) -> None:
    """Seven fields are a scan without a verdict on its checksum."""
    assert qr.parse(OLD + ending) == Scan(
        code="011002300111",
        number="12345678",
        amount="100.00",
        date="20260301",
        check_code="12345678901234567890",
        presumed_kind="vat_e_ordinary",
    )


def test_d26_a_scan_cut_before_the_check_code() -> None:
    """Six fields are the whole of a 20-digit number's scan, and say nothing of its checksum."""
    assert qr.parse("01,32,,24417000000034170288,199.00,20240720") == Scan(
        number="24417000000034170288", total="199.00", date="20240720"
    )


@pytest.mark.parametrize("written", ["0000", "XYZ1", "12", "FFFFF", "é"])
def test_wrong_checksums_are_reported_only(written: str) -> None:
    """A wrong or garbled CRC leaves the fields readable."""
    scan = qr.parse(f"{DIGITAL},{written}")
    assert scan == Scan(
        number="26112000000000000001", total="113.00", date="20260301", checksum_ok=False
    )


def test_reflected_checksum_is_for_rail_tickets_only() -> None:
    """CRC-16/MODBUS counts on a rail ticket and is wrong on anything else."""
    rail = DIGITAL.replace(",32,", ",51,")
    for body, right in ((rail, True), (DIGITAL, False)):
        scan = qr.parse(f"{body},{qr.crc_modbus(body)}")
        assert scan is not None
        assert scan.checksum_ok is right


@pytest.mark.parametrize(
    ("kind_type", "code", "number", "presumed"),
    [
        ("01", "1100221130", "12345678", "vat_special"),
        ("04", "1100221330", "12345678", "vat_ordinary"),
        ("10", "011002300111", "12345678", "vat_e_ordinary"),
        ("51", "011002300111", "12345678", "vat_e_ordinary"),
        ("51", "", "25112000000000000001", None),
        ("31", "", "25112000000000000001", None),
        ("32", "", "25112000000000000001", None),
        ("01", "", "25112000000000000001", None),
        ("08", "011002300113", "12345678", None),
    ],
)
def test_presumed_kind(kind_type: str, code: str, number: str, presumed: str | None) -> None:
    """The type presumes a kind for old invoices only; 20 digits never do."""
    scan = qr.parse(f"01,{kind_type},{code},{number},1,20260301,")
    assert scan is not None
    assert scan.presumed_kind == presumed


@pytest.mark.parametrize(
    ("code", "number", "field"),
    [
        ("1100221130", "12345678", "amount"),
        ("", "12345678", "amount"),
        ("", "25112000000000000001", "total"),
        ("", "2511200000000000000", "total"),  # misread, but of the digital family
        ("1100221130", "25112000000000000001", "total"),
        ("1100221130", "123", "amount"),
    ],
)
def test_what_the_money_is(code: str, number: str, field: str) -> None:
    """The fifth field is without tax on old invoices and with tax on 20-digit numbers."""
    scan = qr.parse(f"01,01,{code},{number},64.9,20260301,")
    assert scan is not None
    assert (scan.amount, scan.total) == (("64.9", None) if field == "amount" else (None, "64.9"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "hello",
        "01,10,011002300111,12345678,100.00,20260301",
        "01,04,,12345678,100.00,20260301",
        "01,32,,26112000000000000001,113.00",
        "02,32,,26112000000000000001,113.00,20260301,",
        "01,3x,,26112000000000000001,113.00,20260301,",
        "01,,,26112000000000000001,113.00,20260301,",
        f"{OLD},0000,more",
        f"{OLD},0000,,",
        "https://example.com/",
        "https://example.com/verify/scan",
        "https://example.com/verify/scan?hash=1&total_amount=1",
        "https://example.com/verify/scan?bill_num=12345678&total_amount=1.5",
        "https://example.com/verify/scan?bill_num=12345678&bill_num=12345679",
        "https://example.com/verify/scan?bill_num=+",
        "https://example.com/verify/scanner?bill_num=12345678",
        "https:///verify/scan?bill_num=12345678",
        "http://[/verify/scan?bill_num=12345678",
        "httpx://example.com/verify/scan?bill_num=12345678",
        "ftp://example.com/verify/scan?bill_num=12345678",
    ],
)
def test_other_texts_are_no_scans(text: str) -> None:
    """What has none of the known forms is refused as a whole."""
    assert qr.parse(text) is None


@pytest.mark.parametrize(
    ("fen", "total"),
    [("1234", "12.34"), ("5", "0.05"), ("0", "0.00"), ("-100", "-1.00"), ("", None)],
)
def test_blockchain_url(fen: str, total: str | None) -> None:
    """The URL of a Shenzhen invoice gives its number and its total, which it states in fen."""
    url = f"https://bc.example/a/verify/scan?hash=0af9&bill_num=00012345&x=1&total_amount={fen}"
    expected = Scan(number="00012345", total=total, presumed_kind="blockchain")
    assert qr.parse(url) == expected
    assert qr.parse(f" {url.replace('https', 'HTTP')}\n") == expected


DIGITS = st.characters(min_codepoint=0x30, max_codepoint=0x39)


def digits(length: int) -> st.SearchStrategy[str]:
    """Texts of so many digits."""
    return st.text(DIGITS, min_size=length, max_size=length)


@given(
    kind=st.sampled_from(sorted(qr.TYPES)),
    money=st.decimals(-(10**9), 10**9, places=2).map(str),
    date=st.dates().map(str),
    comma=st.booleans(),
    trailing=st.booleans(),
    data=st.data(),
)
def test_round_trip(
    kind: str, money: str, date: str, comma: bool, trailing: bool, data: st.DataObject
) -> None:
    """What is encoded comes back, with a right checksum."""
    old = kind.startswith("vat_")
    code = data.draw(digits(10) | digits(12)) if old else ""
    number = data.draw(digits(8 if old else 20))
    check_code = data.draw(digits(20)) if old else ""
    text = qr.encode(
        kind, code, number, money, date, check_code, comma_in_crc=comma, trailing_comma=trailing
    )
    assert qr.parse(text) == Scan(
        code=code or None,
        number=number,
        amount=money if old else None,
        total=None if old else money,
        date=date.replace("-", ""),
        check_code=check_code or None,
        presumed_kind=kind if old else None,
        checksum_ok=True,
    )


def test_a_misread_digit_never_passes() -> None:
    """No single wrong character before the checksum leaves it right."""
    text = qr.encode("vat_e_ordinary", "011002300111", "12345678", "1.00", "2026-03-01", "1" * 20)
    for place in range(len(text) - 5):
        for digit in "0123456789":
            misread = text[:place] + digit + text[place + 1 :]
            scan = qr.parse(misread)
            passes = scan is not None and scan.checksum_ok is True
            assert passes == (misread == text), misread


@given(st.text() | st.text("01,0123456789. -:/?&=https").map("01,".__add__))
def test_any_text_is_answered(text: str) -> None:
    """Whatever was scanned, parsing answers and never raises."""
    qr.parse(text)
    qr.parse(f"{OLD},{text}")


def test_lone_surrogates_do_no_harm() -> None:
    """Text that has no UTF-8 form is a misread like any other."""
    scan = qr.parse(f"{OLD}\ud800,FEE8")
    assert scan is not None
    assert scan.checksum_ok is False


def test_kinds_without_a_code_cannot_be_encoded() -> None:
    """A kind that has no QR type is refused instead of getting somebody else's."""
    with pytest.raises(KeyError):
        qr.encode("vat_roll", "011002300106", "12345678", "1.00", "2026-03-01", "")
