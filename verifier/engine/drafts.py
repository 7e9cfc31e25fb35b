"""Drafts: answers that are still being made. They never leave the engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from verifier.invoice.claim import Claim, Item
from verifier.invoice.verdict import Answer, Match
from verifier.wire.blocks import Answered

# What the ledger is read for: a raw key that needs no parsing, or the claim of a parsed question.
Unread = str | Claim


class Draft(msgspec.Struct, gc=False):
    """Some items of a request of which memory did not match all.

    Each index of ``items`` has its answer, or is still ``unparsed``, or has in ``unread`` the key
    that has to be loaded for it; with that goes its claim if it was parsed.
    """

    items: Sequence[Item]
    answers: dict[int, Answer | Match]
    unparsed: list[int]
    unread: dict[int, str]
    claims: dict[int, Claim]

    def blocks(self, size: int) -> Iterator[Answered]:
        """All answers, once they are there, in blocks of at most so many."""
        count = len(self.items)
        for start in range(0, count, size):
            indexes = range(start, min(start + size, count))
            yield Answered([self.answers[index] for index in indexes])
