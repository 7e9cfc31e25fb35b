"""Duplicates: what one request asks about more than once is told where it came first."""

from __future__ import annotations

from collections.abc import Sequence

from verifier.invoice.hints import Hint
from verifier.invoice.verdict import Answer, Match


class Duplicates:
    """The keys of one request so far, in the order of its items.

    Most requests repeat nothing, and pay for a set of their keys and nothing more.
    """

    def __init__(self) -> None:
        self._keys: list[str] = []
        self._before: set[str] = set()
        self._latest: set[str] = set()
        # Where each key came first, of as many keys as were looked at.
        self._first: dict[str, int] = {}
        self._indexed = 0

    def among(self, keys: Sequence[str]) -> bool:
        """Whether some of the next raw keys come twice or came before."""
        self._before |= self._latest
        self._latest = set(keys)
        return len(self._latest) < len(keys) or not self._before.isdisjoint(self._latest)

    def hint(self, answers: list[Answer | Match], raw: Sequence[str], repeats: bool) -> None:
        """Add a hint to each of the next answers whose invoice was asked about before.

        ``raw`` are the raw keys of their items, and ``repeats`` is what ``among`` said of them:
        unless one was repaired, they are told by it.
        """
        keys = [answer.key for answer in answers]
        start = len(self._keys)
        self._keys += keys
        if keys == raw and not repeats and not self._indexed:
            return
        first = self._first
        for index in range(self._indexed, len(self._keys)):
            key = self._keys[index]
            # A malformed question has none.
            if key and first.setdefault(key, index) != index and index >= start:
                hint = Hint("duplicate_in_request", "number", first[key])
                answers[index - start] = answers[index - start].hinted(hint)
        self._indexed = len(self._keys)
