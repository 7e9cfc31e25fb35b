"""Repair and parse one field of a question (contract.md §1).

Every function takes the text that a caller sent and returns canonical text, or a ``FieldError``
that says why there is none. None of them raises. What comes back differs from what was sent if
something was repaired (parsing.py).
"""

from __future__ import annotations

import re
from datetime import date as Date
from decimal import Decimal
from functools import cache
from unicodedata import normalize

import msgspec

from verifier.invoice.codes import region_of_code, region_of_number
from verifier.invoice.identity import CODE_LENGTHS, DIGITAL_LENGTH, NO_NUMBER, NUMBER_LENGTHS
from verifier.invoice.kinds import CALLED, KINDS


class FieldError(msgspec.Struct, frozen=True, order=True):
    """What is wrong with a field; ``expected`` is language-neutral and may be empty."""

    field: str
    code: str
    expected: str = ""


MAX_REFERENCE = 128
MAX_QR = 1024
# Composing characters takes time that grows with the square of the length.
MAX_NARROWED = 256
MAX_INTEGER_DIGITS = 11
MIN_TAX_ID, MAX_TAX_ID = 15, 20
WINDOW_YEARS = 5

# A check code of 20 digits is given whole or by its last six.
CHECK_CODE_LENGTHS = (6, 20)


@cache
def digits_of(lengths: tuple[int, ...]) -> str:
    """What is expected of a field of so many digits, as an error shows it."""
    return f"{' / '.join(map(str, lengths))} × 0-9"


EXPECTED_CODE = digits_of(CODE_LENGTHS)
EXPECTED_NUMBER = digits_of(NUMBER_LENGTHS)
EXPECTED_CHECK_CODE = digits_of(CHECK_CODE_LENGTHS)
EXPECTED_DATE = "YYYY-MM-DD"
EXPECTED_MONEY = "-1234.50"
EXPECTED_TAX_ID = "15 … 20 × 0-9 A-Z"

# Check codes with letters, by their length.
_LETTERED = {
    kind.check_code.length: kind.check_code for kind in KINDS.values() if kind.check_code.letters
}

_SPACES_AND_HYPHENS = re.compile(r"[\s\-\u2010-\u2015\u2212]+")
_SPACES = re.compile(r"\s+")
_LOOK_ALIKES = str.maketrans("OolI", "0011")
_DATE = re.compile(r"(\d{4})(?:-(\d{1,2})-(\d{1,2})|/(\d{1,2})/(\d{1,2})|(\d{2})(\d{2}))", re.ASCII)
_CHINESE_DATE = re.compile(r"(\d{4})年(\d{1,2})月(\d{1,2})日", re.ASCII)
_MONEY = re.compile(r"([+-]?)(\d+|\d{1,3}(?:,\d{3})+)(?:\.(\d+))?", re.ASCII)


def narrow(text: str) -> str:
    """Full-width digits, letters and punctuation to their ASCII forms.

    Text that is longer than any field can be comes back as it is.
    """
    return text if text.isascii() or len(text) > MAX_NARROWED else normalize("NFKC", text)


def tidy_digits(text: str) -> str:
    """The repairs of an all-digit field: width, spaces, hyphens, look-alikes O o l I."""
    return _SPACES_AND_HYPHENS.sub("", narrow(text)).translate(_LOOK_ALIKES)


def tidy_characters(text: str) -> str:
    """The repairs of a field of digits and letters: width, spaces, hyphens."""
    return _SPACES_AND_HYPHENS.sub("", narrow(text))


def _digits(field: str, text: str, expected: str, lengths: tuple[int, ...]) -> FieldError | None:
    if not (text.isascii() and text.isdigit()):
        return FieldError(field, "bad_format", expected)
    if len(text) not in lengths:
        return FieldError(field, "bad_length", expected)
    return None


def parse_code(text: str) -> str | FieldError:
    """An invoice code of 10 or 12 digits whose region is known (domain.md §3)."""
    code = tidy_digits(text)
    error = _digits("code", code, EXPECTED_CODE, CODE_LENGTHS)
    if error is None and region_of_code(code) is None:
        error = FieldError("code", "unknown_region")
    return error or code


def parse_number(text: str) -> str | FieldError:
    """A number of 8 digits other than zeros, or of 20 with a known region (domain.md §3, §4)."""
    number = tidy_digits(text)
    error = _digits("number", number, EXPECTED_NUMBER, NUMBER_LENGTHS)
    if error is None:
        if number == NO_NUMBER:
            error = FieldError("number", "bad_format", EXPECTED_NUMBER)
        elif len(number) == DIGITAL_LENGTH and region_of_number(number) is None:
            error = FieldError("number", "unknown_region")
    return error or number


def tidy_date(text: str) -> str:
    """A date without white space and with ASCII digits."""
    return _SPACES.sub("", narrow(text)).translate(_LOOK_ALIKES)


def parse_date(text: str, oldest: str, today: str) -> str | FieldError:
    """An issue date as ``YYYY-MM-DD`` within [oldest, today], both ISO dates in Asia/Shanghai."""
    tidied = tidy_date(text)
    found = _DATE.fullmatch(tidied) or _CHINESE_DATE.fullmatch(tidied)
    if found is None:
        return FieldError("date", "bad_format", EXPECTED_DATE)
    year, month, day = (int(part) for part in found.groups() if part is not None)
    try:
        date = Date(year, month, day).isoformat()
    except ValueError:
        return FieldError("date", "bad_format", EXPECTED_DATE)
    if date > today:
        return FieldError("date", "date_in_future", f"≤ {today}")
    if date < oldest:
        return FieldError("date", "out_of_window", f"≥ {oldest}")
    return date


def oldest_date(today: Date) -> str:
    """The first issue date in scope on a day: five years before (domain.md §2)."""
    year = today.year - WINDOW_YEARS
    # 29 February has no counterpart in most years; the day before keeps the window's length.
    day = 28 if (today.month, today.day) == (2, 29) else today.day
    return Date(year, today.month, day).isoformat()


def tidy_money(text: str) -> str:
    """An amount without white space and currency sign; grouping commas stay."""
    tidied = _SPACES.sub("", narrow(text)).replace("\u2212", "-")
    return tidied.replace("¥", "", 1) if tidied[:2].lstrip("+-").startswith("¥") else tidied


def parse_money(field: str, value: str | int | Decimal) -> str | FieldError:
    """An amount as canonical text with two decimals; at most 11 digits before the point.

    JSON numbers come as int or Decimal, never as float, and are taken by value.
    """
    if not isinstance(value, str):
        number = Decimal(value)
        if not number.is_finite() or number.adjusted() > 64 or number.adjusted() < -64:
            return FieldError(field, "out_of_range", EXPECTED_MONEY)
        value = format(number, "f")
        if "." in value:
            value = value.rstrip("0").rstrip(".")
    found = _MONEY.fullmatch(tidy_money(value))
    if found is None or len(found[3] or "") > 2:
        return FieldError(field, "bad_format", EXPECTED_MONEY)
    integer = found[2].replace(",", "").lstrip("0") or "0"
    if len(integer) > MAX_INTEGER_DIGITS:
        return FieldError(field, "out_of_range", f"≤ {MAX_INTEGER_DIGITS} × 0-9")
    text = f"{integer}.{found[3] or '':0<2}"
    return f"-{text}" if found[1] == "-" and text != "0.00" else text


def fen(money: str) -> int:
    """Canonical money as integer fen (1 yuan = 100 fen)."""
    return int(money.replace(".", ""))


def parse_check_code(text: str, kind: str | None) -> str | FieldError:
    """A check code: 6 or 20 digits, or what a kind with letters in it has (domain.md §2).

    Letters keep their case, which the judge disregards. When the kind is not known because
    another field is wrong, either form passes.
    """
    characters = tidy_characters(text)
    form = KINDS[kind].check_code if kind else _LETTERED.get(len(characters))
    if form is not None and form.letters:
        if not (characters.isascii() and characters.isalnum()):
            return FieldError("check_code", "bad_format", form.expected)
        if len(characters) != form.length:
            return FieldError("check_code", "bad_length", form.expected)
        return characters
    digits = tidy_digits(text)
    return _digits("check_code", digits, EXPECTED_CHECK_CODE, CHECK_CODE_LENGTHS) or digits


def parse_tax_id(field: str, text: str) -> str | FieldError:
    """A taxpayer id of 15 to 20 digits and capitals; its check digit is only a hint (§5)."""
    tax_id = tidy_characters(text)
    if not (tax_id.isascii() and tax_id.isalnum()):
        return FieldError(field, "bad_format", EXPECTED_TAX_ID)
    if not MIN_TAX_ID <= len(tax_id) <= MAX_TAX_ID:
        return FieldError(field, "bad_length", EXPECTED_TAX_ID)
    return tax_id.upper()


def parse_kind(text: str) -> str | FieldError:
    """The name of a kind, for which its Chinese name may stand (kinds.py)."""
    name = _SPACES.sub("", narrow(text)).lower()
    name = CALLED.get(name, name)
    return name if name in KINDS else FieldError("kind", "unknown_kind", " ".join(KINDS))
