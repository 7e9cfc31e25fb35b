"""The 18 kinds of invoice: what is particular to one stands in its entry (domain.md §2, §3, §6).

Vendors' numeric type codes collide (32, 51 and 83 mean different things to different vendors),
so kinds are words here.
"""

from __future__ import annotations

import msgspec

from verifier.invoice.identity import DIGITAL_LENGTH, LONG_CODE, NUMBER_LENGTH, SHORT_CODE


class CheckCode(msgspec.Struct, frozen=True):
    """The check code that the ledger keeps: so many digits, or as many digits and letters."""

    length: int
    letters: bool = False

    @property
    def character(self) -> str:
        """The regular expression of one character."""
        return "[0-9A-Za-z]" if self.letters else r"\d"

    @property
    def expected(self) -> str:
        """Its form as an error shows it."""
        return f"{self.length} × {'0-9 a-z' if self.letters else '0-9'}"


class Kind(msgspec.Struct, frozen=True):
    """One kind of invoice.

    ``factors`` are the fields that a question about this kind must supply. ``code_lengths`` is
    empty for the digital kinds, whose 20-digit number stands alone.

    A code says this kind (codes.py) if it has 10 digits and the 8th is one of ``eighths``; if it
    has 12 digits with a leading 0 and the last two are one of ``endings``; or if it has 12 digits
    without a leading 0 and matches the regular expression ``irregular``. No code may say two
    kinds. A kind ``printed_on`` the stock of another kind has that kind's codes.

    ``qr_types`` are the types in its QR code, the usual one first; with ``reflected_crc`` their
    checksum is CRC-16/MODBUS. A kind with ``qr_path`` has a URL instead, whose path ends in it.
    ``also_called`` are its other Chinese names, as ``fields.narrow`` leaves them.
    """

    name: str
    chinese: str
    factors: tuple[str, ...]
    code_lengths: tuple[int, ...] = ()
    eighths: str = ""
    endings: tuple[str, ...] = ()
    irregular: str = ""
    printed_on: str = ""
    check_code: CheckCode = CheckCode(20)
    qr_types: tuple[str, ...] = ()
    reflected_crc: bool = False
    qr_path: str = ""
    also_called: tuple[str, ...] = ()

    @property
    def digital(self) -> bool:
        """True when the invoice is known by a 20-digit number alone."""
        return not self.code_lengths

    @property
    def number_length(self) -> int:
        """How many digits its number has."""
        return DIGITAL_LENGTH if self.digital else NUMBER_LENGTH

    @property
    def has_check_code(self) -> bool:
        """True when each invoice has a check code; the others may have one."""
        return "check_code" in self.factors


_AMOUNT = ("amount",)
_CHECK = ("check_code",)
_TOTAL = ("total",)

_SHORT = (SHORT_CODE,)
_LONG = (LONG_CODE,)
_EITHER = (SHORT_CODE, LONG_CODE)

# Early codes, which follow no rule.
_EARLY = "144031539110|131001570151|133011501118|111001571071"

_TABLE = (
    Kind("vat_special", "增值税专用发票", _AMOUNT, _SHORT, eighths="15", qr_types=("01",)),
    Kind(
        "vat_freight", "货运专票", _AMOUNT, _SHORT, eighths="27",
        also_called=("货物运输业增值税专用发票",),
    ),
    Kind(
        "motor_vehicle", "机动车销售统一发票", _AMOUNT, _LONG, irregular=r"[^0].{6}2.{4}",
        also_called=("机动车发票",),
    ),
    Kind(
        "vat_ordinary", "增值税普通发票", _CHECK, _EITHER, eighths="36", endings=("04", "05"),
        qr_types=("04",),
    ),
    Kind("vat_e_special", "增值税电子专用发票", _AMOUNT, _LONG, endings=("13",)),
    Kind(
        "vat_e_ordinary", "增值税电子普通发票", _CHECK, _LONG, endings=("11",), irregular=_EARLY,
        qr_types=("10", "51"),
    ),
    Kind(
        "vat_roll", "卷票", _CHECK, _LONG, endings=("06", "07"),
        also_called=("增值税普通发票(卷票)", "增值税普通发票(卷式)"),
    ),
    Kind(
        "vat_toll", "通行费电子普票", _CHECK, _LONG, endings=("12",),
        also_called=("通行费发票", "增值税电子普通发票(通行费)"),
    ),
    Kind(
        "used_vehicle", "二手车销售统一发票", _TOTAL, _LONG, endings=("17",),
        also_called=("二手车发票",),
    ),
    # Issued in Shenzhen only.
    Kind(
        "blockchain", "区块链电子发票", ("amount", "check_code"), _LONG, irregular=r"1.{6}09..0",
        check_code=CheckCode(5, letters=True), qr_path="/verify/scan", also_called=("区块链发票",),
    ),
    Kind(
        "digital_special", "数电票(专用)", _TOTAL, qr_types=("31",),
        also_called=("数电专票", "电子发票(增值税专用发票)"),
    ),
    Kind(
        "digital_ordinary", "数电票(普通)", _TOTAL, qr_types=("32",),
        also_called=("数电普票", "电子发票(普通发票)"),
    ),
    Kind(
        "digital_motor_vehicle", "数电票(机动车)", _TOTAL,
        also_called=("电子发票(机动车销售统一发票)",),
    ),
    Kind(
        "digital_used_vehicle", "数电票(二手车)", _TOTAL,
        also_called=("电子发票(二手车销售统一发票)",),
    ),
    Kind("digital_paper_special", "数电纸质专票", _AMOUNT, _EITHER, printed_on="vat_special"),
    # Its check code is the end of its own 20-digit number.
    Kind(
        "digital_paper_ordinary", "数电纸质普票", _CHECK, _EITHER, printed_on="vat_ordinary",
        check_code=CheckCode(6),
    ),
    Kind(
        "rail_ticket", "铁路电子客票", _TOTAL, qr_types=("51",), reflected_crc=True,
        also_called=("电子发票(铁路电子客票)",),
    ),
    Kind(
        "air_itinerary", "航空电子客票行程单", _TOTAL,
        also_called=("电子发票(航空运输电子客票行程单)", "航空运输电子客票行程单"),
    ),
)  # fmt: skip

KINDS: dict[str, Kind] = {kind.name: kind for kind in _TABLE}

# Kinds by their Chinese names.
CALLED: dict[str, str] = {
    name: kind.name for kind in _TABLE for name in (kind.chinese, *kind.also_called)
}

# The factor of a 20-digit number, whatever the exact kind.
DIGITAL_FACTORS = _TOTAL

STATUSES = ("normal", "voided", "red_flushed", "partially_red_flushed", "red_letter")

# A found invoice of these states may be used, e.g. reimbursed (domain.md §1).
USABLE_STATUSES = frozenset({"normal", "partially_red_flushed"})
