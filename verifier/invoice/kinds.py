"""The 18 kinds of invoice, and the factor that each requires (domain.md §2).

Vendors' numeric type codes collide (32, 51 and 83 mean different things to different vendors),
so kinds are words here.
"""

from __future__ import annotations

import msgspec


class Kind(msgspec.Struct, frozen=True):
    """One kind of invoice.

    ``code_lengths`` is empty for the digital kinds, whose 20-digit number stands alone.
    ``factors`` are the fields that a question about this kind must supply.
    """

    name: str
    chinese: str
    code_lengths: tuple[int, ...]
    factors: tuple[str, ...]

    @property
    def digital(self) -> bool:
        """True when the invoice is known by a 20-digit number alone."""
        return not self.code_lengths


_AMOUNT = ("amount",)
_CHECK = ("check_code",)
_TOTAL = ("total",)

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("vat_special", "增值税专用发票", (10,), _AMOUNT),
        Kind("vat_freight", "货运专票", (10,), _AMOUNT),
        Kind("motor_vehicle", "机动车销售统一发票", (12,), _AMOUNT),
        Kind("vat_ordinary", "增值税普通发票", (10, 12), _CHECK),
        Kind("vat_e_special", "增值税电子专用发票", (12,), _AMOUNT),
        Kind("vat_e_ordinary", "增值税电子普通发票", (12,), _CHECK),
        Kind("vat_roll", "卷票", (12,), _CHECK),
        Kind("vat_toll", "通行费电子普票", (12,), _CHECK),
        Kind("used_vehicle", "二手车销售统一发票", (12,), _TOTAL),
        Kind("blockchain", "区块链电子发票", (12,), ("amount", "check_code")),
        Kind("digital_special", "数电票(专用)", (), _TOTAL),
        Kind("digital_ordinary", "数电票(普通)", (), _TOTAL),
        Kind("digital_motor_vehicle", "数电票(机动车)", (), _TOTAL),
        Kind("digital_used_vehicle", "数电票(二手车)", (), _TOTAL),
        Kind("digital_paper_special", "数电纸质专票", (10, 12), _AMOUNT),
        Kind("digital_paper_ordinary", "数电纸质普票", (10, 12), _CHECK),
        Kind("rail_ticket", "铁路电子客票", (), _TOTAL),
        Kind("air_itinerary", "航空电子客票行程单", (), _TOTAL),
    )
}

# What people call kinds beside our own words, in the form of ``fields.narrow``: their Chinese
# names, and those that stand on the invoices themselves.
CALLED: dict[str, str] = {
    **{kind.chinese: kind.name for kind in KINDS.values()},
    "货物运输业增值税专用发票": "vat_freight",
    "机动车发票": "motor_vehicle",
    "二手车发票": "used_vehicle",
    "增值税普通发票(卷票)": "vat_roll",
    "增值税普通发票(卷式)": "vat_roll",
    "通行费发票": "vat_toll",
    "增值税电子普通发票(通行费)": "vat_toll",
    "区块链发票": "blockchain",
    "数电专票": "digital_special",
    "数电普票": "digital_ordinary",
    "电子发票(增值税专用发票)": "digital_special",
    "电子发票(普通发票)": "digital_ordinary",
    "电子发票(机动车销售统一发票)": "digital_motor_vehicle",
    "电子发票(二手车销售统一发票)": "digital_used_vehicle",
    "电子发票(铁路电子客票)": "rail_ticket",
    "电子发票(航空运输电子客票行程单)": "air_itinerary",
    "航空运输电子客票行程单": "air_itinerary",
}

# The factor of a 20-digit number, whatever the exact kind.
DIGITAL_FACTORS = _TOTAL

# A 数电纸质 invoice is printed on the stock of an old kind, so its code reads like that kind's.
PAPER_TWIN = {"vat_special": "digital_paper_special", "vat_ordinary": "digital_paper_ordinary"}

STATUSES = ("normal", "voided", "red_flushed", "partially_red_flushed", "red_letter")

# A found invoice of these states may be used, e.g. reimbursed (domain.md §1).
USABLE_STATUSES = frozenset({"normal", "partially_red_flushed"})
