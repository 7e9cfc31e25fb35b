"""One ingested line that gives a known invoice another status (contract.md §4)."""

from __future__ import annotations

import msgspec

from verifier.invoice.claim import Invalid
from verifier.invoice.identity import canonical_key, key_of
from verifier.invoice.kinds import STATUSES
from verifier.invoice.line_checks import canonical_status
from verifier.wire.lacking import NO_TEXT, NOTHING, lacking
from verifier.wire.lines import REFERENCE_MEMBERS, Reference, checked
from verifier.wire.strict import UNREADABLE


class StatusLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A new status of a known invoice, and the red letter that brought it about."""

    number: str
    status: str
    code: str = NO_TEXT
    red_letter: Reference | None = NOTHING


class StatusChange(msgspec.Struct, frozen=True, gc=False):
    """A status line that is right; ``red_letter`` is a key or empty."""

    key: str
    status: str
    red_letter: str


_decode = msgspec.json.Decoder(StatusLine).decode

_MEMBERS = len(StatusLine.__struct_fields__)


def read_status(data: bytes) -> StatusChange | Invalid:
    """The change that one line of NDJSON tells, or what is wrong with it."""
    before = lacking()
    try:
        line = _decode(data)
    except UNREADABLE:
        return _read_carefully(data)
    members = _MEMBERS - (lacking() - before)
    key, red_letter = canonical_key(line.code, line.number), ""
    red = line.red_letter
    if red is not None and red is not NOTHING:
        members += REFERENCE_MEMBERS
        red_letter = canonical_key(red.code, red.number)
        if red_letter in ("", key):
            return _read_carefully(data)
    if not key or line.status not in STATUSES or data.count(b":") != members:
        return _read_carefully(data)
    return StatusChange(key, line.status, red_letter)


def _read_carefully(data: bytes) -> StatusChange | Invalid:
    values = checked(data, canonical_status)
    if isinstance(values, Invalid):
        return values
    red = values.get("red_letter")
    return StatusChange(
        key_of(values.get("code", ""), values["number"]),
        values["status"],
        key_of(red["code"], red["number"]) if red else "",
    )
