"""What the ledger holds of an invoice, as the judge sees it."""

from __future__ import annotations

from functools import cache, lru_cache
from sys import intern
from typing import Protocol

import msgspec

from verifier.invoice.codes import kind_of_code, may_have_code
from verifier.invoice.kinds import DIGITAL_FACTORS, KINDS, STATUSES, USABLE_STATUSES

# The longest name of a party, in characters.
MAX_NAME = 300
# An answer lists at most this many red letters of an invoice; with more it gives their number.
MAX_SHOWN = 20

# Interned names of the factor sets, so that the judge compares them by identity.
ASKS_TOTAL = intern("total")
ASKS_AMOUNT = intern("amount")
ASKS_CHECK_CODE = intern("check_code")
ASKS_AMOUNT_AND_CHECK_CODE = intern("amount+check_code")
ASKS_MORE = intern("more")


class Traits(msgspec.Struct, frozen=True, gc=False):
    """What many invoices have in common; records share one for each combination.

    ``use`` is USABLE, or the status that makes the invoice unusable. ``asks`` says which factors a
    question without a kind must supply, so that ``agrees`` can judge it: ASKS_MORE when only
    ``judge`` can, because the code does not say the kind that the ledger has, or the invoice itself
    calls for a hint (its number's year is not its date's).
    """

    kind: str
    use: str
    asks: str


class Held(Protocol):
    """One invoice of the ledger.

    Text is canonical (dates ``2026-03-01``, money with two decimals), so that a caller's field that
    equals it byte for byte is valid and agrees. Kinds, dates, uses and asks are interned.
    """

    @property
    def traits(self) -> Traits:
        """Its kind, use, and what a question must supply."""

    @property
    def date(self) -> str:
        """The issue date."""

    @property
    def amount(self) -> str:
        """Without tax."""

    @property
    def total(self) -> str:
        """With tax."""

    @property
    def check_code(self) -> str:
        """As the ledger keeps it for the kind; empty when it has none."""

    @property
    def members(self) -> bytes:
        """What a matching answer shows of it, encoded by whoever made the record."""

    @property
    def seller_tax_id(self) -> str:
        """Empty when the ledger has none."""

    @property
    def buyer_tax_id(self) -> str:
        """Empty when the ledger has none (an individual)."""


# Matches are counted by use: usable, or the status that makes the invoice unusable.
USABLE = "usable"
USES = (USABLE, *(status for status in STATUSES if status not in USABLE_STATUSES))


@lru_cache(1 << 14)
def asks_of(kind: str, code: str) -> str:
    """Which factors a question without a kind must supply, as one of the ASKS constants."""
    if code and (kind_of_code(code) is None or not may_have_code(kind, code)):
        return ASKS_MORE
    return intern("+".join(KINDS[kind].factors if code else DIGITAL_FACTORS))


@cache
def traits_of(kind: str, use: str, asks: str) -> Traits:
    """The one of these traits; there are a few hundred combinations."""
    return Traits(kind, use, asks)
