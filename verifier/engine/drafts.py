"""Drafts: answers that are still being made. They never leave the engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from verifier.invoice.claim import Claim, Item
from verifier.invoice.verdict import Answer
from verifier.wire.blocks import Answered

# What the ledger is read for: the raw key of a question, or its claim if it had to be parsed.
Unread = str | Claim


class Draft(msgspec.Struct, gc=False):
    """Some items of a request of which memory did not match all, and how far each has come.

    By its index an item has its answer, or is yet ``unparsed``, or has in ``unread`` the key to be
    loaded for it, with its claim if it was parsed.
    """

    items: Sequence[Item]
    answers: dict[int, Answer]
    unparsed: list[int]
    unread: dict[int, str]
    claims: dict[int, Claim]

    def blocks(self, size: int) -> Iterator[Answered]:
        """The answers, once all are there, in blocks of at most ``size``."""
        count = len(self.items)
        for start in range(0, count, size):
            indexes = range(start, min(start + size, count))
            yield Answered([self.answers[index] for index in indexes])
