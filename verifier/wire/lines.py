"""One ingested line: read, checked, and laid out as a row for COPY (contract.md §4).

Lines are the word of those who issue, so nothing is repaired: a field that is not canonical is an
error, except that amounts may be JSON numbers or lack decimals. Nearly all lines are canonical:
such a line is laid out as its row, and one regular expression checks the row as a whole. Only a
line that fails it is looked at field by field (line_checks.py), to say what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from verifier.invoice.claim import Invalid
from verifier.invoice.codes import DIGITAL_FORM, region_of
from verifier.invoice.fields import MAX_TAX_ID
from verifier.invoice.forms import (
    MONEY,
    TAX_ID_CHARACTER,
    check_code_form,
    is_date,
    is_moment,
)
from verifier.invoice.identity import canonical_key, coded_form, key_of
from verifier.invoice.kinds import KINDS, STATUSES, Kind
from verifier.invoice.line_checks import MAX_RED_LETTERS, canonical
from verifier.invoice.record import MAX_NAME
from verifier.wire.lacking import NO_TEXT, NOTHING, lacking
from verifier.wire.strict import NOT_AN_OBJECT, UNREADABLE, colons_stand, members


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The identity of another invoice."""

    number: str
    code: str = NO_TEXT


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """An invoice as it is ingested: the members of an answer's ``invoice`` and three more.

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
    code: str = NO_TEXT
    check_code: str = NO_TEXT
    seller_tax_id: str = NO_TEXT
    seller_name: Annotated[str, Meta(max_length=MAX_NAME)] = NO_TEXT
    buyer_tax_id: str = NO_TEXT
    buyer_name: Annotated[str, Meta(max_length=MAX_NAME)] = NO_TEXT
    region: str | None = NOTHING
    red_letter_of: Reference | None = NOTHING
    red_letters: Annotated[list[Reference], Meta(max_length=MAX_RED_LETTERS)] | None = NOTHING
    issued_at: str | None = NOTHING


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

_MEMBERS = len(Line.__struct_fields__)
REFERENCE_MEMBERS = len(Reference.__struct_fields__)

# COPY's names of the characters that would end a value or a row.
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _shape(kind: Kind) -> re.Pattern[str]:
    """What a canonical row of this kind looks like, up to the buyer's name."""
    key = DIGITAL_FORM if kind.digital else coded_form(kind.code_lengths)
    # The length of a name is the decoder's part; names with control characters go the long way.
    party = rf"{TAX_ID_CHARACTER}{{0,{MAX_TAX_ID}}}\t[^\x00-\x1f\\]*\t"
    return re.compile(
        rf"{key}\t{kind.name}\t\d{{4}}-\d\d-\d\d\t(?:{MONEY}\t){{3}}{check_code_form(kind)}\t"
        rf"(?:{'|'.join(STATUSES)})\t{party}{party}",
        re.ASCII,
    )


_SHAPES = {kind.name: _shape(kind) for kind in KINDS.values()}


def read_many(texts: Sequence[bytes]) -> list[Row | Invalid]:
    """What ``read`` makes of each of some lines of NDJSON, in less time."""
    before = lacking()
    try:
        lines = list(map(_decode, texts))
    except UNREADABLE:
        return [read(text) for text in texts]
    rows = [row for line in lines if (row := _canonical(line)) is not None]
    if len(rows) == len(lines) and _given_once(rows, texts, lacking() - before):
        return [*rows]
    return [read(text) for text in texts]


def read(data: bytes) -> Row | Invalid:
    """The row of one line of NDJSON, or what is wrong with it."""
    before = lacking()
    try:
        line = _decode(data)
    except UNREADABLE:
        return _read_carefully(data)
    row = _canonical(line)
    if row is None or not _given_once((row,), (data,), lacking() - before):
        return _read_carefully(data)
    return row


def _given_once(rows: Sequence[Row], texts: Sequence[bytes], lacked: int) -> bool:
    """Whether the texts of these rows surely give no name twice; they lack ``lacked`` members.

    Each member has one colon. All other colons are within values, where an escape may hide one.
    """
    members = _MEMBERS * len(rows) - lacked
    for row in rows:
        if row.red_letter_of or row.red_letters:
            named = 1 if row.red_letter_of else 0
            if len(row.red_letters) > len("{}"):
                named += row.red_letters.count(",") + 1
            members += REFERENCE_MEMBERS * named
    given = b"\n".join(texts)
    within = "\n".join([row.text for row in rows]).count(":")
    return given.count(b":") == members + within and (not within or colons_stand(given))


def _canonical(line: Line) -> Row | None:
    """The row of a line in canonical form; None when it has to be looked at field by field."""
    code = line.code
    # As key_of makes it, without the call.
    key = f"{code}-{line.number}" if code else line.number
    head = _head(line, key)
    shape = _SHAPES.get(line.kind)
    if shape is None or shape.fullmatch(head) is None or not is_date(line.date):
        return None
    said = line.region
    silent = said is None or said is NOTHING
    if code or not silent:
        region = region_of(code, line.number)
        if region is None or not (silent or said == region):
            return None
    return _row(line, key, head)


def checked(
    data: bytes, check: Callable[[Mapping[str, Any]], dict[str, Any] | Invalid]
) -> dict[str, Any] | Invalid:
    """A line's members as ``check`` returns them, or what is wrong with the line."""
    try:
        given = members(data)
    except UNREADABLE:
        return NOT_AN_OBJECT
    return check(given) if isinstance(given, dict) else NOT_AN_OBJECT


def _read_carefully(data: bytes) -> Row | Invalid:
    values = checked(data, canonical)
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
    """The row, or None when one of the rare members is wrong."""
    origin, origin_text, blue = "", "\\N", line.red_letter_of
    if blue is not None and blue is not NOTHING:
        origin = origin_text = canonical_key(blue.code, blue.number)
        if not origin or origin == key:
            return None
    issued_at = line.issued_at
    if issued_at is None or issued_at is NOTHING:
        issued_at = "\\N"
    elif not is_moment(issued_at):
        return None
    red_letters = ""
    if line.red_letters is not None and line.red_letters is not NOTHING:
        keys = {canonical_key(letter.code, letter.number) for letter in line.red_letters}
        if "" in keys or key in keys:
            return None
        red_letters = f"{{{','.join(sorted(keys))}}}"
    return Row(key, f"{head}{origin_text}\t{issued_at}", red_letters, origin)
