"""What stands for the members that a line of the feed does not have, and how many there are.

Nothing but lines refers to these very objects, so their references count what lines lack.
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
# For what is no text; so typed, since it stands for any type.
NOTHING: Any = _Nothing.NOTHING


def lacking() -> int:
    """Grows by one with each member that a line lacks which is decoded, while it is there."""
    return getrefcount(NO_TEXT) + getrefcount(NOTHING)
