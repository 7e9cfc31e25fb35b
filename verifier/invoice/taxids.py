"""Taxpayer ids: the check character of a unified social credit code (GB 32100-2015, domain.md §5).

Issued invoices do carry ids that fail it, so a failing id is a hint, never a rejection.
"""

from __future__ import annotations

from functools import lru_cache

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_VALUES = {character: value for value, character in enumerate(ALPHABET)}
_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)


def check_character(first17: str) -> str | None:
    """The 18th character that belongs to the first 17, or None when one is not of the alphabet."""
    total = 0
    for character, weight in zip(first17, _WEIGHTS, strict=True):
        value = _VALUES.get(character)
        if value is None:
            return None
        total += value * weight
    return ALPHABET[(31 - total % 31) % 31]


# The same sellers and buyers come again and again; the answer is a pure function of the text.
@lru_cache(maxsize=65536)
def fails_check(tax_id: str) -> bool:
    """True for an 18-character id whose check character is wrong. Other lengths have none."""
    return len(tax_id) == 18 and check_character(tax_id[:17]) != tax_id[17]
