"""Answers to bytes.

A plain match is put together from bytes that were encoded when its record was read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from verifier.invoice.verdict import Answer, Match, VerdictName
from verifier.state import Reading
from verifier.wire.blocks import Block
from verifier.wire.members import errors_json, hints_json, iso
from verifier.wire.messages import Language
from verifier.wire.records import Record

_quote = msgspec.json.encode

# Indexes as they stand in an answer: those of a batch, and the last digits of those beyond.
_INDEXES = [b"%d," % index for index in range(10_000)]
_LAST_DIGITS = [b"%03d," % index for index in range(1_000)]


def _indexes(first: int, count: int) -> list[bytes]:
    end = first + count
    if end <= len(_INDEXES):
        return _INDEXES[first:end]
    thousands, rest = divmod(first, 1_000)
    left = 1_000 - rest
    if count > left:
        return _indexes(first, left) + _indexes(first + left, count - left)
    digits = b"%d" % thousands
    return [digits + last for last in _LAST_DIGITS[rest : rest + count]]


def _ending(place: int, reference: str | None, separator: bytes) -> bytes:
    """The end of an answer, from its place in the block on, and the beginning of the next one."""
    return b'%d","reference":%b}%b{"index":' % (place, _or_null(reference), separator)


def _or_null(text: str | None) -> bytes:
    return b"null" if text is None else _quote(text)


class Encoder:
    """Answers to JSON; one per process. ``prefix`` makes its answer ids unique among processes."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._answers = 0
        self._freshness: dict[tuple[float, float, str, bool], bytes] = {}
        # Of answers without a reference, by separator.
        self._endings: dict[bytes, list[bytes]] = {}

    def encode(self, answer: Answer | Match, language: Language) -> bytes:
        """One answer."""
        return b'{%b,"id":"%b","reference":%b}' % (
            self._up_to_id(answer, language),
            self._new_id().encode(),
            _or_null(answer.reference),
        )

    def encode_many(
        self, block: Block, language: Language, first: int, before: bytes, after: bytes
    ) -> bytes:
        """The answers of a block, from index ``first`` on.

        Each has ``after`` behind it, and each but that of index 0 ``before`` in front of it.
        What a match is made of was encoded earlier, or is the same for its neighbours: pieces are
        put side by side, mostly in C, and joined once for all.
        """
        answers = block.answers
        count = len(answers)
        id_ = b',"id":"%b.' % self._new_id().encode()
        reading, source = block.reading, "cache"
        shared = b"" if reading is None else self._shared(reading, source) + id_
        # For each answer its index, what it has by itself, what it shares with others, and its end.
        pieces = [shared] * (4 * count + 1)
        if block.recalled:
            pieces[2::4] = [record.members for record in answers]
            references = [item.reference for item in block.items]
        else:
            references = []
            for index in range(count):
                answer, at = answers[index], 4 * index + 2
                if type(answer) is Record:
                    answer = block.answer(index)
                references.append(answer.reference)
                if type(answer) is not Match:
                    pieces[at], pieces[at + 1] = self._up_to_id(answer, language), id_
                    continue
                if answer.reading is not reading or answer.source is not source:
                    reading, source = answer.reading, answer.source
                    shared = self._shared(reading, source) + id_
                pieces[at], pieces[at + 1] = answer.record.members, shared
        pieces[0] = b'%b{"index":' % (before if first else b"")
        pieces[1::4] = _indexes(first, count)
        pieces[4::4] = self._endings_of(references, after + before)
        pieces[-1] = pieces[-1].removesuffix(b'%b{"index":' % before)
        return b"".join(pieces)

    def members(self, answer: Answer, language: Language) -> dict[str, Any]:
        """The members of an answer that is no match."""
        return {
            **self._members_up_to_id(answer, language),
            "id": self._new_id(),
            "reference": answer.reference,
        }

    def _new_id(self) -> str:
        self._answers += 1
        return f"{self._prefix}{self._answers:x}"

    def _endings_of(self, references: Sequence[str | None], separator: bytes) -> list[bytes]:
        count = len(references)
        if references.count(None) < count:
            return [_ending(place, text, separator) for place, text in enumerate(references)]
        known = self._endings.get(separator, [])
        if len(known) < count:
            known = self._endings[separator] = [
                _ending(place, None, separator) for place in range(count)
            ]
        return known[:count]

    def _freshness_json(self, reading: Reading, source: str, stale: bool) -> bytes:
        """The value of ``freshness``; few readings serve many answers."""
        what = (reading.as_of, reading.epoch, source, stale)
        known = self._freshness.get(what)
        if known is None:
            if len(self._freshness) >= 1024:
                self._freshness.clear()
            shown = {"as_of": iso(reading.moment), "source": source, "stale": stale}
            known = self._freshness[what] = _quote(shown)
        return known

    def _shared(self, reading: Reading, source: str) -> bytes:
        """What a match without hints shares with others."""
        return b',"hints":[],"freshness":%b' % self._freshness_json(reading, source, False)

    def _up_to_id(self, answer: Answer | Match, language: Language) -> bytes:
        """The members before the id, without braces."""
        record, reading = answer.record, answer.reading
        if record is None or reading is None:
            assert isinstance(answer, Answer)
            return _quote(self._members_up_to_id(answer, language))[1:-1]
        return b'%b,"hints":%b,"freshness":%b' % (
            record.members,
            _quote(hints_json(answer.hints, language)) if answer.hints else b"[]",
            self._freshness_json(reading, answer.source, answer.stale),
        )

    def _members_up_to_id(self, answer: Answer, language: Language) -> dict[str, Any]:
        shown: dict[str, Any] = {"verdict": answer.verdict}
        if answer.verdict == "mismatch":
            shown["mismatched"] = answer.mismatched
        elif answer.verdict == "invalid":
            shown |= errors_json(answer.errors, answer.more_errors, language)
        elif answer.verdict == "unavailable":
            shown["reason"] = answer.reason
        if answer.retry_after:
            shown["retry_after"] = answer.retry_after
        shown["hints"] = hints_json(answer.hints, language)
        if answer.reading is not None:
            freshness = self._freshness_json(answer.reading, answer.source, answer.stale)
            shown["freshness"] = msgspec.Raw(freshness)
        return shown


def counts_json(verdicts: Mapping[VerdictName, int], uses: Mapping[str, int]) -> bytes:
    """The ``summary`` of a batch or stream."""
    return _quote({**verdicts, "matches": uses})
