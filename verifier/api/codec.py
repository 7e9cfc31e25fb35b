"""Bytes to questions, answers to bytes.

A well-typed question is decoded in C straight into its structure. Whatever does not fit (a JSON
number as an amount, an unknown field, a wrong type) is decoded once more, with exact decimals, so
that the parser can take it or say what is wrong. A plain match is put together from bytes that
were encoded when its record was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from verifier.api.messages import Language, error_message, hint_message
from verifier.engine.steps import Item
from verifier.errors import BadRequest
from verifier.invoice.claim import Invalid, Question
from verifier.invoice.fields import FieldError
from verifier.invoice.hints import Hint
from verifier.invoice.kinds import STATUSES, USABLE_STATUSES
from verifier.invoice.line_checks import exact
from verifier.invoice.record import Reading
from verifier.invoice.verdict import Answer, Match, VerdictName

_NOT_AN_OBJECT = Invalid((FieldError("", "bad_format", "JSON object"),), ())
_UNREADABLE_NUMBER = Invalid((FieldError("", "out_of_range", "numbers < 1E+4300"),), ())

_quote = msgspec.json.encode


class Batch(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The body of a batch."""

    invoices: list[Question]


class _RawBatch(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    invoices: list[msgspec.Raw]


_question = msgspec.json.Decoder(Question)
_batch = msgspec.json.Decoder(Batch)
_raw_batch = msgspec.json.Decoder(_RawBatch)
# Decimals keep what the caller wrote: an amount never becomes a float.
_exact = msgspec.json.Decoder(float_hook=exact)


# What the decoder raises for text that is no JSON. A ValidationError, which says that JSON does
# not fit the structure, is a DecodeError too and must be caught first.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _decode(text: bytes | msgspec.Raw) -> Item:
    """A question; raises one of _UNREADABLE when the text is no JSON."""
    try:
        return _question.decode(text)
    except msgspec.ValidationError:
        try:
            given = _exact.decode(text)
        except msgspec.ValidationError:
            # An integer of thousands of digits.
            return _UNREADABLE_NUMBER
        return given if isinstance(given, dict) else _NOT_AN_OBJECT


def _decode_or_invalid(text: bytes | msgspec.Raw) -> Item:
    try:
        return _decode(text)
    except _UNREADABLE:
        return _NOT_AN_OBJECT


def decode_question(body: bytes) -> Item:
    """The question in a body; BadRequest when the body is no JSON."""
    try:
        return _decode(body)
    except _UNREADABLE as error:
        raise BadRequest("malformed_json", str(error)) from error


def decode_lines(block: bytes) -> list[Item]:
    """The questions of whole lines (NDJSON); a blank line is none.

    A line that is no JSON object comes out Invalid.
    """
    # Not decode_lines: it takes two objects on a line, or one on two lines, for two or one.
    lines = block.split(b"\n")
    try:
        return [_question.decode(line) for line in lines if line]
    except _UNREADABLE:
        return [_decode_or_invalid(line) for line in lines if line.strip()]


def line_too_long(limit: int) -> Invalid:
    """What stands for a line that was passed over because of its length in bytes."""
    return Invalid((FieldError("", "bad_length", f"≤ {limit} bytes"),), ())


# Bodies above this size are looked at for their number of commas before they are decoded; an
# item has a dozen members, and some commas in its text.
_TO_COUNT = 1 << 18
_COMMAS_PER_ITEM = 64


def decode_batch(body: bytes, max_items: int) -> list[Item]:
    """The questions of a batch; BadRequest when the body as a whole is not one."""
    items: list[Item]
    # Megabytes of tiny items would become hundreds of megabytes before they could be counted.
    if len(body) > _TO_COUNT and body.count(b",") > max_items * _COMMAS_PER_ITEM:
        raise BadRequest("too_many_items", f"invoices: expected at most {max_items} items")
    try:
        items = list(_batch.decode(body).invoices)
    except _UNREADABLE:
        # Some item does not fit, or nothing does: item by item, so that the others are answered.
        try:
            raw = _raw_batch.decode(body).invoices
        except msgspec.ValidationError as error:
            raise BadRequest("malformed_batch", str(error)) from error
        except _UNREADABLE as error:
            raise BadRequest("malformed_json", str(error)) from error
        items = [_decode_or_invalid(item) for item in raw[: max_items + 1]]
    if not items:
        raise BadRequest("malformed_batch", f"invoices: expected 1 to {max_items} items, got none")
    if len(items) > max_items:
        raise BadRequest("too_many_items", f"invoices: expected at most {max_items} items")
    return items


def iso(moment: float) -> str:
    """Seconds since the epoch as ``2026-11-24T02:00:00.123Z``."""
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def errors_json(errors: Iterable[FieldError], language: Language) -> list[dict[str, str]]:
    """The ``errors`` member of a problem or an invalid result."""
    return [
        {
            "field": error.field,
            "code": error.code,
            "message": error_message(error, language),
            "expected": error.expected,
        }
        for error in errors
    ]


def _hints_json(hints: Iterable[Hint], language: Language) -> list[dict[str, Any]]:
    shown = []
    for hint in hints:
        entry: dict[str, Any] = {
            "code": hint.code,
            "field": hint.field,
            "message": hint_message(hint, language),
        }
        if hint.first_index is not None:
            entry["first_index"] = hint.first_index
        shown.append(entry)
    return shown


_MATCH_HEADS = {
    status: (
        f'"verdict":"match","status":"{status}",'
        f'"usable":{"true" if status in USABLE_STATUSES else "false"},"invoice":'
    ).encode()
    for status in STATUSES
}


# The indexes of a batch; those of a long stream are made anew.
_INDEXES = [b"%d" % index for index in range(10_000)]


def _indexes(first: int, count: int) -> list[bytes]:
    last = first + count
    return (
        _INDEXES[first:last] if last <= len(_INDEXES) else [b"%d" % i for i in range(first, last)]
    )


class Encoder:
    """Answers to JSON; one per process. ``prefix`` makes its answer ids unique among processes."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix.encode()
        self._answers = 0
        self._freshness: dict[tuple[float, str, bool], bytes] = {}

    def _freshness_json(self, reading: Reading, source: str, stale: bool) -> bytes:
        """The ``freshness`` member; few readings serve many answers."""
        what = (reading.as_of, source, stale)
        known = self._freshness.get(what)
        if known is None:
            if len(self._freshness) >= 1024:
                self._freshness.clear()
            shown = {"as_of": iso(reading.as_of), "source": source, "stale": stale}
            known = self._freshness[what] = b'"freshness":' + _quote(shown)
        return known

    def encode(self, answer: Answer | Match, language: Language, index: int | None = None) -> bytes:
        """One answer; ``index`` is its place in a batch or stream."""
        self._answers = number = self._answers + 1
        record, reading = answer.record, answer.reading
        if record is None or reading is None:
            assert isinstance(answer, Answer)
            return _quote(self.members(answer, language, index, number))
        return b'{%b%b%b,"hints":%b,%b,"id":"%b%x","reference":%b}' % (
            b"" if index is None else b'"index":%d,' % index,
            _MATCH_HEADS[record.status],
            record.invoice,
            _quote(_hints_json(answer.hints, language)) if answer.hints else b"[]",
            self._freshness_json(reading, answer.source, answer.stale),
            self._prefix,
            number,
            b"null" if answer.reference is None else _quote(answer.reference),
        )

    def encode_many(
        self,
        answers: Sequence[Answer | Match],
        language: Language,
        first: int,
        before: bytes,
        after: bytes,
    ) -> bytes:
        """Answers from index ``first`` on, each between ``before`` and ``after``.

        What most of a match is made of was encoded earlier, or is the same for its neighbours:
        the pieces are joined once for all.
        """
        self._answers = number = self._answers + 1
        opening = before + b'{"index":'
        ending = b'","reference":null}' + after
        reading: Reading | None = None
        source = status = ""
        head = tail = b""
        pieces: list[bytes] = []
        for index, answer in zip(_indexes(first, len(answers)), answers, strict=True):
            if type(answer) is not Match:
                pieces += (before, self.encode(answer, language, int(index)), after)
                continue
            record, reference = answer.record, answer.reference
            if record.status is not status:
                status = record.status
                head = b"," + _MATCH_HEADS[status]
            if answer.reading is not reading or answer.source is not source:
                reading, source = answer.reading, answer.source
                freshness = self._freshness_json(reading, source, False)
                tail = b',"hints":[],%b,"id":"%b%x.' % (freshness, self._prefix, number)
            pieces += (opening, index, head, record.invoice, tail, index)
            if reference is None:
                pieces.append(ending)
            else:
                pieces.append(b'","reference":%b}%b' % (_quote(reference), after))
        return b"".join(pieces)

    def members(
        self,
        answer: Answer,
        language: Language,
        index: int | None = None,
        number: int | None = None,
    ) -> dict[str, Any]:
        """The members of an answer that is no match."""
        if number is None:
            self._answers = number = self._answers + 1
        shown: dict[str, Any] = {} if index is None else {"index": index}
        shown["verdict"] = answer.verdict
        if answer.verdict == "mismatch":
            shown["mismatched"] = answer.mismatched
        elif answer.verdict == "invalid":
            shown["errors"] = errors_json(answer.errors, language)
        elif answer.verdict == "unavailable":
            shown["reason"] = answer.reason
        if answer.retry_after:
            shown["retry_after"] = answer.retry_after
        shown["hints"] = _hints_json(answer.hints, language)
        if answer.reading is not None:
            freshness = self._freshness_json(answer.reading, answer.source, answer.stale)
            shown["freshness"] = msgspec.Raw(freshness.removeprefix(b'"freshness":'))
        shown["id"] = f"{self._prefix.decode()}{number:x}"
        shown["reference"] = answer.reference
        return shown


def counts_json(counts: Mapping[VerdictName, int]) -> bytes:
    """The ``summary`` of a batch or stream."""
    return _quote(counts)
