"""Blocks: answers to some items of a request, in their order, from the engine to the encoder."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from verifier.invoice.claim import Question
from verifier.invoice.verdict import Answer, Match
from verifier.state import Reading
from verifier.wire.records import Record


class Recalled(msgspec.Struct, frozen=True, gc=False):
    """Answers that are all matches from memory, each of them as its record alone.

    ``items``, ``keys`` and ``records`` go side by side; every record holds as of ``reading``.
    """

    items: Sequence[Question]
    keys: Sequence[str]
    records: Sequence[Record]
    reading: Reading

    def __len__(self) -> int:
        return len(self.records)

    @property
    def answers(self) -> list[Answer]:
        """Each answer in full, made anew."""
        return [self.match(index) for index in range(len(self.records))]

    def match(self, index: int) -> Match:
        """The answer at an index, in full."""
        reference = self.items[index].reference
        return Match(self.keys[index], self.records[index], self.reading, "cache", reference)


class Answered(msgspec.Struct, frozen=True, gc=False):
    """Answers of any kind, each in full."""

    answers: list[Answer]

    def __len__(self) -> int:
        return len(self.answers)

    @property
    def keys(self) -> Sequence[str]:
        """The key of each answer; that of a malformed question is empty."""
        return [answer.key for answer in self.answers]


Block = Recalled | Answered
