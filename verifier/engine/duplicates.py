"""Duplicates: what one request asks about more than once is told where it came first."""

from __future__ import annotations

from collections.abc import Sequence

from verifier.invoice.hints import Hint
from verifier.wire.blocks import Answered, Block, Recalled


class Duplicates:
    """The keys of one request so far, in the order of its items.

    Most requests repeat nothing, and pay for a set of their keys and nothing more.
    """

    def __init__(self) -> None:
        # Raw keys as expected, and keys as answered: these differ where a question was repaired.
        self._raw: list[str] = []
        self._keys: list[str] = []
        self._before: set[str] = set()
        self._latest: set[str] = set()
        self._repeats = False
        # Where each key came first, of as many keys as were looked at.
        self._first: dict[str, int] = {}
        self._indexed = 0

    def expect(self, raw: Sequence[str]) -> bool:
        """The next answers are to items with these raw keys. Whether some may need a hint."""
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
            # A malformed question has none.
            if key and self._first.setdefault(key, index) != index and index >= start:
                repeated[index - start] = Hint("duplicate_in_request", "number", self._first[key])
        self._indexed = len(self._keys)
        if not repeated:
            return block
        answers = block.answers
        for index, hint in repeated.items():
            answers[index] = answers[index].hinted(hint)
        return Answered(answers)
