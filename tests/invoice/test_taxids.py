"""The check character of a taxpayer id against domain.md §5."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.invoice.taxids import ALPHABET, check_character, fails_check

FIRST_17 = st.text(ALPHABET, min_size=17, max_size=17)

# Of the conformance ledger: made up, with right check characters.
RIGHT = ["91510104L1KCYELPKK", "911101086W7K0QEAE4", "91440305PB7KF3FPJD", "9131011560D02RTUC6"]


@pytest.mark.parametrize("tax_id", RIGHT)
def test_right_ones_pass(tax_id: str) -> None:
    """An id with the right check character passes, and with any other it fails."""
    assert not fails_check(tax_id)
    for other in set(ALPHABET) - {tax_id[-1]}:
        assert fails_check(tax_id[:17] + other)


def test_a_sum_of_zero_checks_as_zero() -> None:
    """The outer modulo matters: 31 − 0 is written 0."""
    assert check_character("0" * 17) == "0"


def test_the_weights_are_powers_of_three() -> None:
    """A 1 in place n weighs 3 to the power n, modulo 31."""
    for place in range(17):
        first17 = "0" * place + "1" + "0" * (16 - place)
        assert check_character(first17) == ALPHABET[-(3**place) % 31]


@given(FIRST_17, st.integers(0, 16), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_always_seen(first17: str, place: int, other: str) -> None:
    """The check finds every misread of a single character."""
    tax_id = first17 + str(check_character(first17))
    assert not fails_check(tax_id)
    misread = tax_id[:place] + other + tax_id[place + 1 :]
    assert fails_check(misread) == (misread != tax_id)


@pytest.mark.parametrize(
    "tax_id", ["", "110108123456789", "11010812345678901234", "91510104L1KCYELPK"]
)
def test_other_lengths_have_no_check(tax_id: str) -> None:
    """Ids of 15 or 20 characters, or none at all, cannot fail."""
    assert not fails_check(tax_id)


@pytest.mark.parametrize("character", "IOSVZa一")
def test_foreign_characters_fail(character: str) -> None:
    """A character outside the alphabet has no value, so the id fails."""
    assert check_character(character + "0" * 16) is None
    assert fails_check(character + "0" * 17)
