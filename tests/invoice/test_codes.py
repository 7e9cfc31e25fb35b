"""Inference of kind and region against domain.md §3 and §4."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.invoice.codes import (
    CITIES,
    NUMBER_REGIONS,
    REGIONS,
    kind_of_code,
    may_have_code,
    region_of,
    region_of_code,
    region_of_number,
)

KINDS_OF_CODES = [
    # the 8th of 10 digits
    ("1100221130", "vat_special"),
    ("1100221530", "vat_special"),
    ("1100221330", "vat_ordinary"),
    ("1100221630", "vat_ordinary"),
    ("1100221230", "vat_freight"),
    ("1100221730", "vat_freight"),
    ("1100221030", None),
    ("1100221430", None),
    ("1100221830", None),
    ("1100221930", None),
    # the literals come before every other rule of 12 digits
    ("144031539110", "vat_e_ordinary"),
    ("131001570151", "vat_e_ordinary"),
    ("133011501118", "vat_e_ordinary"),
    ("111001571071", "vat_e_ordinary"),
    # first digit 0: the last two
    ("011002300111", "vat_e_ordinary"),
    ("011002300112", "vat_toll"),
    ("011002300113", "vat_e_special"),
    ("011002300104", "vat_ordinary"),
    ("011002300105", "vat_ordinary"),
    ("011002300106", "vat_roll"),
    ("011002300107", "vat_roll"),
    ("011002300117", "used_vehicle"),
    ("011002300114", None),
    ("011002300100", None),
    ("011002320199", None),  # an 8th digit 2 says nothing behind a leading 0
    # first digit another: the 8th digit 2, before the blockchain form
    ("150002621232", "motor_vehicle"),
    ("250002621232", "motor_vehicle"),
    ("144032309110", "blockchain"),
    ("144032309210", "blockchain"),
    ("144032309111", None),  # the last digit is not 0
    ("244032309110", None),  # the first digit is not 1
    ("144032319110", None),  # 8-9 are not 09
    # other lengths say nothing
    ("", None),
    ("01100230011", None),
    ("0110023001111", None),
]


@pytest.mark.parametrize(("code", "kind"), KINDS_OF_CODES)
def test_kind_of_code(code: str, kind: str | None) -> None:
    """A code says its kind by the rules of the domain, in their order."""
    assert kind_of_code(code) == kind


def test_there_are_36_regions_and_five_cities() -> None:
    """The table has 36 regions, of which five are cities apart from their province."""
    assert len(REGIONS) == 36
    assert {"2102", "3302", "3502", "3702", "4403"} == CITIES
    assert [REGIONS[city] for city in sorted(CITIES)] == ["大连", "宁波", "厦门", "青岛", "深圳"]
    assert all(region.endswith("00") for region in REGIONS.keys() - CITIES)


@pytest.mark.parametrize("region", REGIONS)
def test_region_of_code(region: str) -> None:
    """Every region is found in codes of both lengths."""
    assert region_of_code(f"{region}221130") == region
    assert region_of_code(f"0{region}2300111") == region


@pytest.mark.parametrize(
    ("code", "region"),
    [
        ("032012300111", "3200"),  # city digits of an e-invoice
        ("037022300111", "3702"),
        ("037032300111", "3700"),
        ("144032309110", "4403"),
        ("099002600211", None),
        ("9900221130", None),
        ("2200221130", "2200"),
        ("2201221130", "2200"),
        ("", None),
    ],
)
def test_region_of_unusual_codes(code: str, region: str | None) -> None:
    """Only the five cities keep all four digits; an unknown province is no region."""
    assert region_of_code(code) == region


@pytest.mark.parametrize(
    ("digits", "region"),
    [
        ("91", "2102"),
        ("92", "3702"),
        ("93", "3302"),
        ("94", "3502"),
        ("95", "4403"),
        ("11", "1100"),
        ("65", "6500"),
        ("99", None),
        ("00", None),
        ("16", None),
    ],
)
def test_region_of_number(digits: str, region: str | None) -> None:
    """Digits 3 and 4 of a 20-digit number are a province, or 91 to 95 for the cities."""
    number = f"25{digits}2000000012345678"
    assert region_of_number(number) == region
    assert region_of("", number) == region


def test_every_region_has_its_digits() -> None:
    """The digits of 20-digit numbers name all 36 regions, each once."""
    assert sorted(NUMBER_REGIONS.values()) == sorted(REGIONS)


@pytest.mark.parametrize(
    ("kind", "code", "may"),
    [
        ("digital_special", "", True),
        ("digital_special", "1100221130", False),
        ("vat_special", "", False),
        ("vat_special", "1100221130", True),
        ("digital_paper_special", "1100221130", True),
        ("digital_paper_ordinary", "1100221130", False),
        ("digital_paper_ordinary", "011002300104", True),
        ("vat_ordinary", "1100221130", False),
        ("vat_toll", "011002300199", True),  # the code does not say
        ("vat_toll", "1100221030", False),  # but it is too short
    ],
)
def test_may_have_code(kind: str, code: str, may: bool) -> None:
    """A kind fits a code that infers it or its paper twin, or that says nothing."""
    assert may_have_code(kind, code) is may


@given(st.text(max_size=25))
def test_any_text_is_answered(text: str) -> None:
    """Whatever the text, inference answers and never raises."""
    assert kind_of_code(text) is None or text
    assert region_of_code(text) in {None, *REGIONS}
    assert region_of_number(text) in {None, *REGIONS}
