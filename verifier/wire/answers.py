"""Answers to bytes: one alone, or as the results of a batch or stream.

Most of a match was encoded when its record was read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from verifier.invoice.verdict import Answer, Judgement, Match, VerdictName
from verifier.state import Reading
from verifier.wire.blocks import Block, Recalled
from verifier.wire.members import errors_json, hints_json, iso
from verifier.wire.messages import Language

# Encodes a block of results, which are numbered from an index on.
EncodeMany = Callable[[Block, Language, int], bytes]

_quote = msgspec.json.encode

# How a result of each index begins, and beyond those the last digits of an index.
_BEGINNINGS = [b'{"index":%d,' % index for index in range(10_000)]
_LAST_DIGITS = [b"%03d," % index for index in range(1_000)]

# A result is put together from four pieces: its beginning, with the index; members of its own;
# members that it shares with its neighbours, and the part of the id that it shares; its ending. Of
# the pieces of many results, each kind is every fourth one.
_PIECES = 4
_BEGINNING, _OWN, _SHARED, _ENDING = (slice(piece, None, _PIECES) for piece in range(_PIECES))


def _beginnings(first: int, count: int) -> list[bytes]:
    """How ``count`` results begin, from index ``first`` on."""
    end = first + count
    if end <= len(_BEGINNINGS):
        return _BEGINNINGS[first:end]
    thousands, rest = divmod(first, 1_000)
    left = 1_000 - rest
    if count > left:
        return _beginnings(first, left) + _beginnings(first + left, count - left)
    digits = b'{"index":%d' % thousands
    return [digits + last for last in _LAST_DIGITS[rest : rest + count]]


def _ending(place: int, reference: str | None, separator: bytes) -> bytes:
    """How the result at a place of its block ends, from its own part of the id on."""
    return b'%d","reference":%b}%b' % (place, _or_null(reference), separator)


def _or_null(text: str | None) -> bytes:
    return b"null" if text is None else _quote(text)


class Encoder:
    """Makes JSON of answers; one per process, whose ids are unique by their ``prefix``."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix.encode()
        self._answers = 0
        # The last reading and source that a match was encoded with, and their bytes.
        self._last: tuple[Reading | None, str, bytes] = (None, "", b"")
        self._freshness: dict[tuple[float, float, str, bool], bytes] = {}
        # How results without a reference end, by separator.
        self._endings: dict[bytes, list[bytes]] = {}

    def encode(self, answer: Answer, language: Language) -> bytes:
        """One answer."""
        if type(answer) is Match:
            own, shared = answer.record.members, self._shared(answer.reading, answer.source)
        else:
            own, shared = self._up_to_id(answer, language), b""
        return b'{%b%b,"id":"%b","reference":%b}' % (
            own,
            shared,
            self._new_id(),
            _or_null(answer.reference),
        )

    def encode_results(self, block: Block, language: Language, first: int) -> bytes:
        """Results of a batch, from index ``first`` on.

        Commas stand between them, and before all but the first of the batch.
        """
        pieces = self._pieces(block, language, first, b",")
        pieces[-1] = pieces[-1].removesuffix(b",")
        if first:
            pieces[0] = b"," + pieces[0]
        return b"".join(pieces)

    def encode_lines(self, block: Block, language: Language, first: int) -> bytes:
        """Results of a stream, from index ``first`` on, a line each."""
        return b"".join(self._pieces(block, language, first, b"\n"))

    def _pieces(
        self, block: Block, language: Language, first: int, separator: bytes
    ) -> list[bytes]:
        """The results of a block, four pieces each, with the separator behind every result.

        Most pieces were encoded earlier or serve many results. Slices put them side by side in C.
        """
        count = len(block)
        id_ = b',"id":"%b.' % self._new_id()
        if isinstance(block, Recalled):
            shared = self._shared(block.reading, "cache") + id_
            pieces = [shared] * (_PIECES * count)
            pieces[_OWN] = [record.members for record in block.records]
            references = [item.reference for item in block.items]
        else:
            pieces = [b""] * (_PIECES * count)
            pieces[_OWN], pieces[_SHARED] = self._bodies(block.answers, language, id_)
            references = [answer.reference for answer in block.answers]
        pieces[_BEGINNING] = _beginnings(first, count)
        pieces[_ENDING] = self._endings_of(references, separator)
        return pieces

    def _bodies(
        self, answers: Sequence[Answer], language: Language, id_: bytes
    ) -> tuple[list[bytes], list[bytes]]:
        """The middle pieces of each answer: members of its own, and what it shares."""
        own: list[bytes] = []
        shared: list[bytes] = []
        # Neighbours mostly have the same reading and source, whose bytes are made once.
        reading: Reading | None = None
        source = ""
        common = b""
        for answer in answers:
            if type(answer) is Match:
                if answer.reading is not reading or answer.source != source:
                    reading, source = answer.reading, answer.source
                    common = self._shared(reading, source) + id_
                own.append(answer.record.members)
                shared.append(common)
            else:
                own.append(self._up_to_id(answer, language))
                shared.append(id_)
        return own, shared

    def members(self, answer: Judgement, language: Language) -> dict[str, Any]:
        """The members of an answer that is no match."""
        return {
            **self._members_up_to_id(answer, language),
            "id": self._new_id().decode(),
            "reference": answer.reference,
        }

    def _new_id(self) -> bytes:
        self._answers += 1
        return b"%b%x" % (self._prefix, self._answers)

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
        """The value of ``freshness``, kept because few readings serve many answers."""
        what = (reading.as_of, reading.epoch, source, stale)
        known = self._freshness.get(what)
        if known is None:
            if len(self._freshness) >= 1024:
                self._freshness.clear()
            shown = {"as_of": iso(reading.moment), "source": source, "stale": stale}
            known = self._freshness[what] = _quote(shown)
        return known

    def _shared(self, reading: Reading, source: str) -> bytes:
        """The members that a match without hints shares with others."""
        last, by, members = self._last
        if reading is not last or source != by:
            members = b',"hints":[],"freshness":%b' % self._freshness_json(reading, source, False)
            self._last = reading, source, members
        return members

    def _up_to_id(self, answer: Answer, language: Language) -> bytes:
        """The members before the id, without braces."""
        record, reading = answer.record, answer.reading
        if record is None or reading is None:
            assert isinstance(answer, Judgement)
            return _quote(self._members_up_to_id(answer, language))[1:-1]
        return b'%b,"hints":%b,"freshness":%b' % (
            record.members,
            _quote(hints_json(answer.hints, language)) if answer.hints else b"[]",
            self._freshness_json(reading, answer.source, answer.stale),
        )

    def _members_up_to_id(self, answer: Judgement, language: Language) -> dict[str, Any]:
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
