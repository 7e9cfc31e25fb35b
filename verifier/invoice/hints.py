"""Hints: what a caller should know although it does not change the verdict (contract.md §2)."""

from __future__ import annotations

import msgspec

from verifier.invoice.codes import may_have_code
from verifier.invoice.fields import fen
from verifier.invoice.identity import DIGITAL_LENGTH
from verifier.invoice.taxids import fails_check


class Hint(msgspec.Struct, frozen=True, gc=False):
    """``field`` is what the hint is about; ``first_index`` is set for a duplicate only."""

    code: str
    field: str
    first_index: int | None = None


def number_year(number: str, date: str) -> Hint | None:
    """The year of a 20-digit number equalled the issue year in every sample seen (M, §4)."""
    if len(number) == DIGITAL_LENGTH and number[:2] != date[2:4]:
        return Hint("number_year", "number")
    return None


def tax_id_check_digit(field: str, tax_id: str) -> Hint | None:
    """Issued invoices do carry ids whose check digit fails (§5)."""
    return Hint("tax_id_check_digit", field) if fails_check(tax_id) else None


def kind_differs_from_code(kind: str, code: str) -> Hint | None:
    """The caller's kind is none that this identity can have; ``code`` is empty for 20 digits."""
    return None if may_have_code(kind, code) else Hint("kind_differs_from_code", "kind")


def swapped_amounts(amount: str | None, total: str | None) -> Hint | None:
    """Only from the caller's own fields: the amount without tax is not below the total."""
    if amount is None or total is None or abs(fen(amount)) < abs(fen(total)):
        return None
    return Hint("swapped_amounts", "amount")
