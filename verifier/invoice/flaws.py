"""Flaws: what is wrong with a member, whichever field it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from verifier.invoice.fields import FieldError


class _Repeated:
    """The type of REPEATED."""

    def __repr__(self) -> str:
        return "REPEATED"


# Stands for the value of a name that is given twice, or whose value holds such a name.
REPEATED: Final = _Repeated()


def flaws(given: Mapping[str, Any]) -> dict[str, FieldError]:
    """What is wrong with members, whichever fields they are: given twice, or text with NUL."""
    return {
        name: FieldError(name, "duplicate_field")
        if value is REPEATED
        else FieldError(name, "bad_format", "≠ U+0000")
        for name, value in given.items()
        if value is REPEATED or (type(value) is str and "\0" in value)
    }
