"""Codes and check codes for the synthetic ledger, such that a code says its kind (domain.md §3)."""

from __future__ import annotations

# The 8th of 10 digits. A 数电纸质 invoice is printed on the stock of its paper twin.
_EIGHTH = {
    "vat_special": "15",
    "vat_ordinary": "36",
    "vat_freight": "27",
    "digital_paper_special": "15",
    "digital_paper_ordinary": "36",
}

# The last two of 12 digits, where the first is 0.
_ENDINGS = {
    "vat_e_ordinary": ("11", "11"),
    "vat_e_special": ("13", "13"),
    "vat_toll": ("12", "12"),
    "vat_roll": ("06", "07"),
    "used_vehicle": ("17", "17"),
    "vat_ordinary": ("04", "05"),
    "digital_paper_ordinary": ("04", "05"),
}
_ELECTRONIC = frozenset({"vat_e_ordinary", "vat_e_special", "vat_toll"})
_TWO_LENGTHS = frozenset({"vat_ordinary", "digital_paper_ordinary"})


def code_of(kind: str, region: str, year: int, bits: int) -> str:
    """A code of 10 or 12 digits for a kind that has one, from 20 random bits.

    ``year`` is that of the issue; one code in 16 is of the year before, as stock is used up.
    """
    batch, choice, rest = bits & 7, bits >> 3 & 1, bits >> 4 & 255
    stamp = f"{(year - (not bits >> 12 & 15)) % 100:02d}"
    long = bits >> 16 & 1
    if kind == "blockchain":
        return f"1{region}{stamp}09{rest % 100:02d}0"
    if kind == "motor_vehicle":
        return f"1{region}{stamp}2{batch}{rest % 100:02d}{choice}"
    if kind in _EIGHTH and not (long and kind in _TWO_LENGTHS):
        return f"{region}{stamp}{batch}{_EIGHTH[kind][choice]}{3 * (1 + rest % 2)}{rest % 5}"
    if kind in _ELECTRONIC and bits >> 17 & 1 and region.endswith("00"):
        region = f"{region[:2]}01"  # e-invoice codes carry city digits
    return f"0{region}{stamp}00{batch + 1}{_ENDINGS[kind][choice]}"


def check_code_of(digits: int, bits: int) -> str:
    """A check code of that many digits from 64 random bits; five are hexadecimal (blockchain)."""
    if digits == 0:
        return ""
    if digits == 5:
        return f"{bits >> 24 & 0xFFFFF:05x}"
    return f"{bits * 0x9E3779B97F4A7C15 % 10**digits:0{digits}d}"
