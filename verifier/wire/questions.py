"""Bytes to questions.

A well-typed question is decoded in C straight into its structure. Whatever does not fit (a JSON
number as an amount, an unknown field, a wrong type) is decoded once more, with exact decimals, so
that the parser can take it or say what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from verifier.errors import BadRequest
from verifier.invoice.claim import FIELDS, Invalid, Item, Question
from verifier.invoice.fields import FieldError
from verifier.invoice.flaws import flaws
from verifier.invoice.names import listed
from verifier.wire.repeats import all_are_plain, counted, is_plain
from verifier.wire.strict import MOST_NAMES, NOT_AN_OBJECT, UNREADABLE, members

_UNREADABLE_NUMBER = Invalid((FieldError("", "out_of_range", "numbers < 1E+4300"),))


class Batch(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The body of a batch."""

    invoices: list[Question]


class _Names(msgspec.Struct, gc=False):
    """The same body, decoded for the names that its items give."""

    invoices: list[dict[str, Any]]


_question = msgspec.json.Decoder(Question)
_batch = msgspec.json.Decoder(Batch)
_names_of_batch = msgspec.json.Decoder(_Names)
_names = msgspec.json.Decoder(dict[str, Any])


def _decode(text: bytes) -> Item:
    """A question; raises one of UNREADABLE when the text is no JSON."""
    question = None
    try:
        question = _question.decode(text)
    except msgspec.ValidationError:
        pass
    else:
        if is_plain(text, question):
            return question
    try:
        given = members(text)
    except msgspec.ValidationError:
        # An integer of thousands of digits.
        return _UNREADABLE_NUMBER
    if not isinstance(given, dict):
        return NOT_AN_OBJECT
    if len(given) > MOST_NAMES:
        # Thousands of such items would take many times the space of their text.
        errors, more = listed((), given, FIELDS)
        return Invalid(errors, more_errors=more)
    for name, value in given.items():
        if isinstance(value, list | dict):
            # No field takes that, and it may be large.
            given[name] = ()
    return given if question is None or flaws(given) else question


def decode_question(body: bytes) -> Item:
    """The question in a body; BadRequest when the body is no JSON."""
    try:
        return _decode(body)
    except UNREADABLE as error:
        said = str(error) if body.strip() else "the body is empty; expected a JSON object"
        raise BadRequest("malformed_json", said) from error


def decode_one(text: bytes) -> Item:
    """The question in one line or item of many; Invalid when it is no JSON object."""
    try:
        return _decode(text)
    except UNREADABLE:
        return NOT_AN_OBJECT


def too_long(limit: int) -> Invalid:
    """The outcome of a line or item of more than ``limit`` bytes, which is not looked into."""
    return Invalid((FieldError("", "bad_length", f"≤ {limit} bytes"),))


def decode_lines(block: bytes) -> Sequence[Item] | None:
    """The questions of whole lines (NDJSON) at once, if each line is a plain one or empty.

    None means that they have to be decoded one by one.
    """
    # Not the decoder's decode_lines, for which a line may hold two objects, or half of one.
    lines = list(filter(None, block.split(b"\n")))
    questions: list[Question] = []
    try:
        _, references = counted(questions.extend, map(_question.decode, lines))
    except UNREADABLE:
        return None

    def names() -> int:
        return sum(map(len, map(_names.decode, lines)))

    return questions if all_are_plain(block, questions, references, names) else None


def decode_batch(body: bytes, max_items: int) -> Sequence[Item] | None:
    """The questions of a batch at once, if each item is a plain one.

    None means that they have to be decoded one by one, which may find that this is no batch.
    """
    try:
        batch, references = counted(_batch.decode, body)
    except UNREADABLE:
        return None
    questions = batch.invoices

    def names() -> int:
        return sum(map(len, _names_of_batch.decode(body).invoices))

    if not all_are_plain(body, questions, references, names, around=1):
        return None
    check_count(len(questions), max_items)
    return questions


def check_count(count: int, max_items: int) -> None:
    """Raise BadRequest unless a batch may have so many items."""
    if not count:
        raise BadRequest("malformed_batch", f"invoices: expected 1 to {max_items} items, got none")
    if count > max_items:
        raise BadRequest("too_many_items", f"invoices: expected at most {max_items} items")
