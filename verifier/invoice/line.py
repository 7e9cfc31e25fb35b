"""One line of the ledger feed (contract.md §4): read, checked, and laid out as a row for COPY.

The feed is the word of those who issue, so nothing is repaired: what is not canonical is rejected
with its field, except that amounts may be JSON numbers or lack decimals. A line in canonical form,
which nearly all are, is laid out as its row and checked by one regular expression over the row;
only what fails that is looked at field by field (line_checks.py), to say what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from sys import getrefcount
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from verifier.invoice.claim import Invalid
from verifier.invoice.codes import NUMBER_REGIONS, region_of_code, region_of_number
from verifier.invoice.fields import FieldError
from verifier.invoice.kinds import KINDS, STATUSES, Kind
from verifier.invoice.line_checks import (
    CHECK_CODES,
    MAX_RED_LETTERS,
    MAX_TAX_ID,
    canonical,
    canonical_status,
    is_date,
    is_moment,
    reference_key,
)
from verifier.invoice.record import MAX_NAME, key_of
from verifier.invoice.strict import UNREADABLE, has_only, members


class _Absent(StrEnum):
    """The empty text of members that a line does not have.

    Nothing else refers to this very object, so its references tell how many of them there are.
    """

    TEXT = ""


_ABSENT = _Absent.TEXT


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The identity of another invoice."""

    number: str
    code: str = _ABSENT


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """An invoice as the feed gives it: the members of an answer's ``invoice`` and three more.

    ``region`` follows from the identity and is only compared. A line without ``red_letters``
    leaves those that the ledger knows as they are.
    """

    kind: str
    number: str
    date: str
    amount: str | int | float
    tax: str | int | float
    total: str | int | float
    status: str
    code: str = _ABSENT
    check_code: str = _ABSENT
    seller_tax_id: str = _ABSENT
    seller_name: Annotated[str, Meta(max_length=MAX_NAME)] = _ABSENT
    buyer_tax_id: str = _ABSENT
    buyer_name: Annotated[str, Meta(max_length=MAX_NAME)] = _ABSENT
    region: str | UnsetType | None = UNSET
    red_letter_of: Reference | UnsetType | None = UNSET
    red_letters: Annotated[list[Reference], Meta(max_length=MAX_RED_LETTERS)] | UnsetType | None = (
        UNSET
    )
    issued_at: str | UnsetType | None = UNSET


class StatusLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A new status of a known invoice, and the red letter that brought it about."""

    number: str
    status: str
    code: str = _ABSENT
    red_letter: Reference | UnsetType | None = UNSET


class StatusChange(msgspec.Struct, frozen=True, gc=False):
    """A status line that is right; ``red_letter`` is a key or empty."""

    key: str
    status: str
    red_letter: str


class Row(msgspec.Struct, gc=False):
    """A line as COPY's text format takes it.

    ``text`` holds the values of ``COLUMNS``: tab-separated, escaped, without a line end.
    ``red_letters`` is the array literal of one more column, empty when the line does not mention
    them. ``red_letter_of`` is a key or empty.
    """

    key: str
    text: str
    red_letters: str
    red_letter_of: str


COLUMNS = (
    "key", "kind", "issue_date", "amount", "tax", "total", "check_code", "status",
    "seller_tax_id", "seller_name", "buyer_tax_id", "buyer_name", "red_letter_of", "issued_at",
)  # fmt: skip

_decode = msgspec.json.Decoder(Line).decode
_decode_status = msgspec.json.Decoder(StatusLine).decode
_NOT_AN_OBJECT = Invalid((FieldError("", "bad_format", "JSON object"),))

_MEMBERS = len(Line.__struct_fields__)
_STATUS_MEMBERS = len(StatusLine.__struct_fields__)
_REFERENCE_MEMBERS = len(Reference.__struct_fields__)

# COPY's names of the characters that would end a value or a row.
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _shape(kind: Kind) -> re.Pattern[str]:
    """What a canonical row of this kind looks like, up to the buyer's name."""
    if kind.digital:
        key = rf"\d\d(?:{'|'.join(NUMBER_REGIONS)})\d{{16}}"
    else:
        codes = "|".join(rf"\d{{{length}}}" for length in kind.code_lengths)
        key = rf"(?:{codes})-(?!0{{8}})\d{{8}}"
    money = r"(?:-?(?:0|[1-9]\d{0,10})\.\d\d\t){3}"
    # The length of a name is the decoder's part; names with control characters go the long way.
    party = rf"[0-9A-Z]{{0,{MAX_TAX_ID}}}\t[^\x00-\x1f\\]*\t"
    return re.compile(
        rf"{key}\t{kind.name}\t\d{{4}}-\d\d-\d\d\t{money}{CHECK_CODES[kind.name].whole}\t"
        rf"(?:{'|'.join(STATUSES)})\t{party}{party}",
        re.ASCII,
    )


_SHAPES = {kind.name: _shape(kind) for kind in KINDS.values()}


def read(data: bytes) -> Row | Invalid:
    """The row of one line of NDJSON, or what is wrong with it."""
    before = getrefcount(_ABSENT)
    try:
        line = _decode(data)
    except UNREADABLE:
        return _read_carefully(data)
    absent = getrefcount(_ABSENT) - before
    if not _given_once(line, absent, data):
        return _read_carefully(data)
    code = line.code
    key = f"{code}-{line.number}" if code else line.number
    head = _head(line, key)
    shape = _SHAPES.get(line.kind)
    if shape is None or shape.fullmatch(head) is None or not is_date(line.date):
        return _read_carefully(data)
    said = line.region
    silent = said is None or said is UNSET
    if code or not silent:
        region = region_of_code(code) if code else region_of_number(key)
        if region is None or not (silent or said == region):
            return _read_carefully(data)
    return _row(line, key, head) or _read_carefully(data)


def _given_once(line: Line, absent: int, data: bytes) -> bool:
    """Whether the text of a line surely has no name twice; ``absent`` counts texts it lacks."""
    count = _MEMBERS - absent
    origin, red_letters, issued_at = line.red_letter_of, line.red_letters, line.issued_at
    if line.region is UNSET:
        count -= 1
    if origin is UNSET:
        count -= 1
    elif origin is not None:
        count += _REFERENCE_MEMBERS
    if red_letters is UNSET:
        count -= 1
    elif red_letters:
        count += _REFERENCE_MEMBERS * len(red_letters)
    texts = [line.seller_name, line.buyer_name]
    if issued_at is UNSET:
        count -= 1
    elif issued_at:
        texts.append(issued_at)
    return has_only(data, count, texts)


def read_status(data: bytes) -> StatusChange | Invalid:
    """The change that one line of NDJSON tells, or what is wrong with it."""
    before = getrefcount(_ABSENT)
    try:
        line = _decode_status(data)
    except UNREADABLE:
        return _read_status_carefully(data)
    count = _STATUS_MEMBERS - (getrefcount(_ABSENT) - before)
    red = line.red_letter
    if red is UNSET:
        count -= 1
    elif red is not None:
        count += _REFERENCE_MEMBERS
    key = reference_key(line.code, line.number)
    if not key or line.status not in STATUSES or not has_only(data, count, ()):
        return _read_status_carefully(data)
    red_letter = reference_key(red.code, red.number) if red else ""
    if red and red_letter in ("", key):
        return _read_status_carefully(data)
    return StatusChange(key, line.status, red_letter)


def _read_status_carefully(data: bytes) -> StatusChange | Invalid:
    values = _checked(data, canonical_status)
    if isinstance(values, Invalid):
        return values
    line = msgspec.convert(values, StatusLine)
    red = line.red_letter
    return StatusChange(
        key_of(line.code, line.number), line.status, key_of(red.code, red.number) if red else ""
    )


def _checked(
    data: bytes, check: Callable[[Mapping[str, Any]], dict[str, Any] | Invalid]
) -> dict[str, Any] | Invalid:
    try:
        given = members(data)
    except UNREADABLE:
        return _NOT_AN_OBJECT
    return check(given) if isinstance(given, dict) else _NOT_AN_OBJECT


def _read_carefully(data: bytes) -> Row | Invalid:
    values = _checked(data, canonical)
    if isinstance(values, Invalid):
        return values
    line = msgspec.convert(values, Line)
    line = msgspec.structs.replace(
        line,
        seller_name=line.seller_name.translate(_ESCAPES),
        buyer_name=line.buyer_name.translate(_ESCAPES),
    )
    key = key_of(line.code, line.number)
    row = _row(line, key, _head(line, key))
    assert row is not None
    return row


def _head(line: Line, key: str) -> str:
    return (
        f"{key}\t{line.kind}\t{line.date}\t{line.amount}\t{line.tax}\t{line.total}\t"
        f"{line.check_code}\t{line.status}\t{line.seller_tax_id}\t{line.seller_name}\t"
        f"{line.buyer_tax_id}\t{line.buyer_name}\t"
    )


def _row(line: Line, key: str, head: str) -> Row | None:
    """The row, or None when one of the seldom members is wrong."""
    origin, origin_text = "", "\\N"
    if line.red_letter_of:
        origin = origin_text = reference_key(line.red_letter_of.code, line.red_letter_of.number)
        if not origin or origin == key:
            return None
    issued_at = line.issued_at
    if issued_at is None or issued_at is UNSET:
        issued_at = "\\N"
    elif not is_moment(issued_at):
        return None
    red_letters = ""
    if line.red_letters is not None and line.red_letters is not UNSET:
        keys = {reference_key(letter.code, letter.number) for letter in line.red_letters}
        if "" in keys or key in keys:
            return None
        red_letters = f"{{{','.join(sorted(keys))}}}"
    return Row(key, f"{head}{origin_text}\t{issued_at}", red_letters, origin)
