"""JSON read strictly: numbers exactly, and no name given twice.

Decoders silently take one of two equal names, and not all take the same one: what one program
checks, another may not see. Here a name that is given twice is an error of its field.

Counting shows that most texts have no repeats: each member has one colon, so a text with no more
colons than the members that were decoded from it has none to spare for a repeat.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from verifier.invoice.claim import Invalid
from verifier.invoice.fields import FieldError
from verifier.invoice.flaws import REPEATED

# What decoding text raises that is no JSON. A ValidationError, which says that JSON does not fit a
# structure, is a DecodeError too and must be caught first.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

# What stands for a text that is no JSON object.
NOT_AN_OBJECT = Invalid((FieldError("", "bad_format", "JSON object"),))

# As a number, for which a search of bytes is fastest.
_BACKSLASH = ord("\\")

# Objects with more names than this have unknown ones, for which they are refused anyway.
MOST_NAMES = 64

# No object that we take has more brackets or colons than this: those that have most hold the text
# of a QR code (fields.MAX_QR), or red letters.
_MOST_MARKS = 2_048


def exact(text: str) -> Decimal:
    """A JSON number with all its digits; infinite when its exponent is beyond reason."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal("Infinity")


_pass_over = msgspec.json.Decoder(msgspec.Raw).decode

# Decimals keep what the caller wrote: an amount never becomes a float.
_decode = msgspec.json.Decoder(float_hook=exact).decode


def members(text: bytes) -> Any:
    """The value of JSON text; in an object REPEATED replaces the values of repeated names.

    None for an object with more in it than any that we take. Raises ValidationError for an
    integer of thousands of digits, one of UNREADABLE for no JSON.
    """
    if text.count(b"[") + text.count(b"{") > _MOST_MARKS:
        _pass_over(text)
        return None
    given = _decode(text)
    if not isinstance(given, dict) or len(given) > MOST_NAMES:
        return given
    if not has_only(text, len(given), [value for value in given.values() if type(value) is str]):
        if text.count(b":") > _MOST_MARKS:
            return None
        given.update(dict.fromkeys(repeated(text), REPEATED))
    return given


def has_only(text: bytes, count: int, texts: Iterable[str]) -> bool:
    """Whether an object that was decoded to ``count`` members surely has no repeated ones.

    ``texts`` are those of its values that may have colons. False means "look closer".
    """
    colons = text.count(b":")
    if colons == count:
        return True
    # The value that a repeat overwrote is not among the texts, so that its colons are too many.
    return colons_stand(text) and colons - sum([value.count(":") for value in texts]) == count


def colons_stand(text: bytes) -> bool:
    """Whether no colon in the text of JSON is written as an escape."""
    return _BACKSLASH not in text or (b"\\u003a" not in text and b"\\u003A" not in text)


def repeated(text: bytes) -> list[str]:
    """The names that an object gives twice, or in whose values a name is given twice.

    ``text`` is JSON that was decoded already; RecursionError when it is nested too deeply for us.
    """
    given = json.loads(text.decode(), object_pairs_hook=_object, parse_int=float)
    if not isinstance(given, dict):
        return []
    return [name for name, value in given.items() if _holds_repeated(value)]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    given = dict(pairs)
    if len(given) < len(pairs):
        names = Counter([name for name, _ in pairs])
        given.update({name: REPEATED for name, count in names.items() if count > 1})
    return given


def _holds_repeated(value: Any) -> bool:
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        if inner is REPEATED:
            return True
        if isinstance(inner, dict):
            waiting += inner.values()
        elif isinstance(inner, list):
            waiting += inner
    return False
