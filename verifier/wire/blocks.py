"""Answers to many questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from verifier.invoice.verdict import Answer, Match
from verifier.state import Reading
from verifier.wire.records import Record


class Block(msgspec.Struct, gc=False):
    """Some items of a request, the raw key of each, and the answers in the same order.

    In place of a Match from memory stands its Record alone, which holds as of ``reading``. Until
    all is answered, there may be the key of an item that has to be loaded, its Claim once it was
    parsed, or None where it takes a closer look.
    """

    items: Sequence[Any]
    keys: Sequence[str]
    answers: list[Any]
    reading: Reading | None
    # Whether all answers are matches from memory.
    recalled: bool

    def answer(self, index: int) -> Answer | Match:
        """The answer at a place, in full."""
        answer: Answer | Match | Record = self.answers[index]
        if not isinstance(answer, Record):
            return answer
        assert self.reading is not None
        return Match(self.keys[index], answer, self.reading, "cache", self.items[index].reference)

    def parts(self, size: int) -> Iterator[Block]:
        """The same in blocks of at most so many items."""
        for start in range(0, len(self.answers), size):
            part = slice(start, start + size)
            items, keys, answers = self.items[part], self.keys[part], self.answers[part]
            yield Block(items, keys, answers, self.reading, self.recalled)
