"""Duplicates: an answer says where its request asked about the same invoice first."""

from __future__ import annotations

from collections.abc import Sequence

from verifier.invoice.hints import Hint
from verifier.wire.blocks import Answered, Block, Recalled


class Duplicates:
    """The keys of one request so far, in the order of its items.

    Most requests repeat nothing: they pay for a set of their keys and no more.
    """

    def __init__(self) -> None:
        # Raw keys as expected, and keys as answered. They differ where a question was repaired.
        self._raw: list[str] = []
        self._keys: list[str] = []
        self._before: set[str] = set()
        self._latest: set[str] = set()
        self._repeats = False
        # Where each key came first, among the first ``_indexed`` keys.
        self._first: dict[str, int] = {}
        self._indexed = 0

    def expect(self, raw: Sequence[str]) -> bool:
        """Announce the raw keys of the next items; returns whether some may get a hint."""
        self._raw += raw
        self._before |= self._latest
        self._latest = set(raw)
        self._repeats = len(self._latest) < len(raw) or not self._before.isdisjoint(self._latest)
        return self._repeats or self._indexed > 0

    def hint(self, block: Block) -> Block:
        """The next answers, with a hint on each whose invoice was asked about before."""
        start = len(self._keys)
        self._keys += block.keys
        as_expected = isinstance(block, Recalled) or (
            self._keys[start:] == self._raw[start : len(self._keys)]
        )
        if as_expected and not self._repeats and not self._indexed:
            return block
        repeated: dict[int, Hint] = {}
        for index in range(self._indexed, len(self._keys)):
            key = self._keys[index]
            # A malformed question has no key.
            if key and self._first.setdefault(key, index) != index and index >= start:
                repeated[index - start] = Hint("duplicate_in_request", "number", self._first[key])
        self._indexed = len(self._keys)
        if not repeated:
            return block
        answers = block.answers
        for index, hint in repeated.items():
            answers[index] = answers[index].hinted(hint)
        return Answered(answers)
