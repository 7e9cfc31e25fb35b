"""Placeholders for the members that an ingested line lacks, and how many of them are in use.

Only decoded lines refer to these objects, so that references to them count absent members.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from sys import getrefcount
from typing import Any, Final


class _NoText(StrEnum):
    TEXT = ""


class _Nothing(Enum):
    NOTHING = None


NO_TEXT: Final = _NoText.TEXT
# For members of all other types, hence Any.
NOTHING: Any = _Nothing.NOTHING


def lacking() -> int:
    """A number that is greater by one for each member that a line lacks, while the line lives."""
    return getrefcount(NO_TEXT) + getrefcount(NOTHING)
