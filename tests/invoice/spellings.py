"""How callers spell a field that the ledger spells otherwise (contract.md §1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from random import Random
from typing import Any

from tests.invoice.samples import Given

WIDE = str.maketrans({chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)})


def wide(text: str) -> str:
    """Full-width digits, letters and signs."""
    return text.translate(WIDE)


def spaced(text: str) -> str:
    """Groups of four."""
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def hyphened(text: str) -> str:
    """Groups of five."""
    return "-".join(text[at : at + 5] for at in range(0, len(text), 5))


def unpadded(date: str, form: str) -> str:
    """A date with its month and day as short as they can be."""
    year, month, day = map(int, date.split("-"))
    return form.format(year, month, day)


DIGITS: list[Callable[[str], str]] = [
    wide,
    spaced,
    hyphened,
    lambda text: text.replace("0", "O"),
    lambda text: text.replace("0", "o").replace("1", "l", 1),
    lambda text: text.replace("1", "I"),
    lambda text: f" {text}\t",
]
CHARACTERS: list[Callable[[str], str]] = [wide, spaced, hyphened, lambda text: f"{text}\n"]
MONEY: list[Callable[[str], Any]] = [
    wide,
    lambda text: f"¥{Decimal(text):,.2f}",
    lambda text: f"￥{text}",
    lambda text: f" {text} ",
    lambda text: f"{Decimal(text):,.2f}",
    Decimal,
    lambda text: int(Decimal(text)) if text.endswith(".00") else Decimal(text),
    # Not repairs but other ways to write the same decimal:
    lambda text: text.removesuffix("0"),
    lambda text: text.removesuffix(".00"),
]
SPELLINGS: dict[str, list[Callable[[str], Any]]] = {
    "code": DIGITS,
    "number": DIGITS,
    "kind": [str.upper, wide, lambda text: f" {text}"],
    "date": [
        lambda date: date.replace("-", ""),
        lambda date: unpadded(date, "{}/{}/{}"),
        lambda date: unpadded(date, "{}年{}月{}日"),
        lambda date: unpadded(date, "{}-{}-{}"),
        wide,
        lambda date: f" {date}",
    ],
    "amount": MONEY,
    "total": MONEY,
    "check_code": DIGITS,
    "seller_tax_id": [*CHARACTERS, str.lower],
    "buyer_tax_id": [*CHARACTERS, str.lower],
}


def is_repair(field: str, value: Any, canonical: str) -> bool:
    """Whether the contract calls this spelling a repair."""
    if field in ("amount", "total") and isinstance(value, str):
        return not value.isascii() or any(sign in value for sign in " ,")
    return bool(value != canonical)


def spell(random: Random, canonical: Given, fields: Iterable[str]) -> tuple[Given, list[str]]:
    """A question with these fields in some other spelling, and which of them are repairs."""
    given = dict(canonical)
    for field in fields:
        ways = SPELLINGS[field]
        if field == "check_code" and len(given[field]) == 5:  # on a blockchain, O is no 0
            ways = CHARACTERS
        given[field] = random.choice(ways)(given[field])
    repairs = [name for name in given if is_repair(name, given[name], canonical[name])]
    return given, sorted(repairs)
