"""Codes and check codes for the synthetic ledger, such that a code says its kind (domain.md §3)."""

from __future__ import annotations

from verifier.invoice.kinds import KINDS, Kind

# Kinds whose codes carry city digits, as those of e-invoices do.
_WITH_CITY = frozenset({"vat_e_ordinary", "vat_e_special", "vat_toll"})

# How codes without a leading 0 are written.
_IRREGULAR = {
    "motor_vehicle": "1{region}{stamp}2{batch}{rest:02d}{choice}",
    "blockchain": "1{region}{stamp}09{rest:02d}0",
}


def _stock(kind: Kind) -> Kind:
    """The kind that its codes say."""
    return KINDS[kind.printed_on] if kind.printed_on else kind


_EIGHTHS = {kind.name: _stock(kind).eighths for kind in KINDS.values()}
_ENDINGS = {kind.name: _stock(kind).endings for kind in KINDS.values()}


def code_of(kind: str, region: str, year: int, bits: int) -> str:
    """A code of 10 or 12 digits for a kind that has one, from 20 random bits.

    ``year`` is that of the issue; one code in 16 is of the year before, as stock is used up.
    """
    batch, choice, rest = bits & 7, bits >> 3 & 1, bits >> 4 & 255
    stamp = f"{(year - (not bits >> 12 & 15)) % 100:02d}"
    long = bits >> 16 & 1
    if kind in _IRREGULAR:
        return _IRREGULAR[kind].format(
            region=region, stamp=stamp, batch=batch, rest=rest % 100, choice=choice
        )
    eighths, endings = _EIGHTHS[kind], _ENDINGS[kind]
    if eighths and not (long and endings):
        digit = eighths[choice % len(eighths)]
        return f"{region}{stamp}{batch}{digit}{3 * (1 + rest % 2)}{rest % 5}"
    if kind in _WITH_CITY and bits >> 17 & 1 and region.endswith("00"):
        region = f"{region[:2]}01"
    return f"0{region}{stamp}00{batch + 1}{endings[choice % len(endings)]}"


_CHECK_CODES = {kind.name: kind.check_code for kind in KINDS.values() if kind.has_check_code}


def check_code_of(kind: str, bits: int) -> str:
    """The check code of an invoice of a kind from 64 random bits; empty where it may be.

    One with letters is hexadecimal.
    """
    form = _CHECK_CODES.get(kind)
    if form is None:
        return ""
    length = form.length
    if form.letters:
        return f"{(bits >> 24) % 16**length:0{length}x}"
    return f"{bits * 0x9E3779B97F4A7C15 % 10**length:0{length}d}"
