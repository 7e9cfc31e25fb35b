"""The table of kinds against domain.md §2."""

from __future__ import annotations

import pytest

from verifier.invoice.kinds import KINDS, PAPER_TWIN, STATUSES, USABLE_STATUSES

# kind, Chinese name, lengths of the code, factors
TABLE = [
    ("vat_special", "增值税专用发票", (10,), {"amount"}),
    ("vat_freight", "货运专票", (10,), {"amount"}),
    ("motor_vehicle", "机动车销售统一发票", (12,), {"amount"}),
    ("vat_ordinary", "增值税普通发票", (10, 12), {"check_code"}),
    ("vat_e_special", "增值税电子专用发票", (12,), {"amount"}),
    ("vat_e_ordinary", "增值税电子普通发票", (12,), {"check_code"}),
    ("vat_roll", "卷票", (12,), {"check_code"}),
    ("vat_toll", "通行费电子普票", (12,), {"check_code"}),
    ("used_vehicle", "二手车销售统一发票", (12,), {"total"}),
    ("blockchain", "区块链电子发票", (12,), {"check_code", "amount"}),
    ("digital_special", "数电票(专用)", (), {"total"}),
    ("digital_ordinary", "数电票(普通)", (), {"total"}),
    ("digital_motor_vehicle", "数电票(机动车)", (), {"total"}),
    ("digital_used_vehicle", "数电票(二手车)", (), {"total"}),
    ("digital_paper_special", "数电纸质专票", (10, 12), {"amount"}),
    ("digital_paper_ordinary", "数电纸质普票", (10, 12), {"check_code"}),
    ("rail_ticket", "铁路电子客票", (), {"total"}),
    ("air_itinerary", "航空电子客票行程单", (), {"total"}),
]


@pytest.mark.parametrize(("name", "chinese", "lengths", "factors"), TABLE)
def test_kind(name: str, chinese: str, lengths: tuple[int, ...], factors: set[str]) -> None:
    """Each kind has the name, the code lengths and the factors that the domain gives it."""
    kind = KINDS[name]
    assert (kind.name, kind.chinese, kind.code_lengths) == (name, chinese, lengths)
    assert set(kind.factors) == factors
    assert kind.digital == (not lengths)


def test_all_kinds_are_in_the_table() -> None:
    """There are 18 kinds and no other."""
    assert list(KINDS) == [row[0] for row in TABLE]
    assert len(KINDS) == 18


def test_paper_twins_ask_for_the_same_factor() -> None:
    """A 数电纸质 invoice asks for what its twin asks for, so that inference cannot mislead."""
    for twin, kind in PAPER_TWIN.items():
        assert KINDS[twin].factors == KINDS[kind].factors


def test_statuses() -> None:
    """Only normal and partially red-flushed invoices are usable, of five statuses."""
    assert len(STATUSES) == 5
    assert set(STATUSES) >= USABLE_STATUSES
    assert {"normal", "partially_red_flushed"} == USABLE_STATUSES
