"""The identity of an invoice: code and number, their lengths, and the key that stands for both."""

from __future__ import annotations

import re
from collections.abc import Iterable

# An invoice is known by a code and a number, or by the number of a 数电 invoice alone.
CODE_LENGTHS = SHORT_CODE, LONG_CODE = 10, 12
NUMBER_LENGTH = 8
DIGITAL_LENGTH = 20
NUMBER_LENGTHS = NUMBER_LENGTH, DIGITAL_LENGTH

# No invoice has this number (domain.md §3).
NO_NUMBER = "0" * NUMBER_LENGTH


def coded_form(code_lengths: Iterable[int]) -> str:
    """The regular expression of keys whose code has one of these lengths."""
    codes = "|".join([rf"\d{{{length}}}" for length in code_lengths])
    return rf"(?:{codes})-(?!{NO_NUMBER})\d{{{NUMBER_LENGTH}}}"


# Whether text is a key, so that it may be looked up as it stands.
is_canonical = re.compile(rf"\d{{{DIGITAL_LENGTH}}}|{coded_form(CODE_LENGTHS)}", re.ASCII).fullmatch


def key_of(code: str, number: str) -> str:
    """The key of an identity: a 20-digit number is its own, others are ``code-number``.

    The hyphen keeps a 12-digit code with an 8-digit number apart from a 20-digit number.
    """
    return f"{code}-{number}" if code else number


def canonical_key(code: str, number: str) -> str:
    """The same, or empty when code and number are not the canonical text of an identity."""
    key = key_of(code, number)
    return key if is_canonical(key) else ""


def identity_of(key: str) -> tuple[str, str]:
    """The inverse of ``key_of``: ``(code, number)`` with an empty code for the digital family."""
    code, hyphen, number = key.partition("-")
    return (code, number) if hyphen else ("", key)
