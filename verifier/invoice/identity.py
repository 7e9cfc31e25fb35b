"""The identity of an invoice: code and number, and the key that stands for both."""

from __future__ import annotations


def key_of(code: str, number: str) -> str:
    """The key of an identity: a 20-digit number is its own, others are ``code-number``.

    The hyphen keeps a 12-digit code with an 8-digit number apart from a 20-digit number.
    """
    return f"{code}-{number}" if code else number


def identity_of(key: str) -> tuple[str, str]:
    """The inverse of ``key_of``: ``(code, number)`` with an empty code for the digital family."""
    code, hyphen, number = key.partition("-")
    return (code, number) if hyphen else ("", key)
