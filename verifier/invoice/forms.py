"""The canonical forms of what a ledger line holds, beside those of identities (identity.py)."""

from __future__ import annotations

import re
from datetime import date as Date
from datetime import datetime
from functools import lru_cache

from verifier.invoice.kinds import Kind

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
# PostgreSQL admits offsets up to 15:59; no place on Earth is beyond 14:00.
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-](?:0\d|1[0-4]):[0-5]\d)", re.ASCII
)

# Regular expressions. The length of a tax id is told apart from its characters.
MONEY = r"-?(?:0|[1-9]\d{0,10})\.\d\d"
TAX_ID_CHARACTER = "[0-9A-Z]"


def check_code_form(kind: Kind) -> str:
    """The regular expression of a kind's check code; empty text passes where it may be absent."""
    code = f"{kind.check_code.character}{{{kind.check_code.length}}}"
    return code if kind.has_check_code else f"(?:{code})?"


@lru_cache(maxsize=8192)
def is_date(text: str) -> bool:
    """Whether the text is a day of the calendar as ``YYYY-MM-DD``."""
    try:
        return _DATE.fullmatch(text) is not None and bool(Date.fromisoformat(text))
    except ValueError:
        return False


def is_moment(text: str) -> bool:
    """Whether the text is a moment of RFC 3339 with its offset from UTC."""
    try:
        return _MOMENT.fullmatch(text) is not None and bool(datetime.fromisoformat(text))
    except ValueError:
        return False
