"""What came of the questions of one scenario."""

from __future__ import annotations

from collections import Counter
from math import inf

import msgspec

# Wrong answers that a report quotes.
_QUOTED = 10


class Tally(msgspec.Struct):
    """Counts of one scenario. Times are seconds of the monotonic clock."""

    bound: float
    asked: int = 0
    answered: int = 0
    unavailable: int = 0
    # Questions whose connection ended before the answer did, and those that nobody answered.
    cut: int = 0
    hung: int = 0
    # Results that lack, come twice, or belong to another question.
    misplaced: int = 0
    wrong: int = 0
    stalest: float = 0.0
    slowest: float = 0.0
    # How much later than meant the load sent a question, at worst.
    latest: float = 0.0
    # Changes of the ledger: acknowledged, and refused or without an answer.
    written: int = 0
    unwritten: int = 0
    # When a question last came to nothing.
    last_trouble: float = -inf
    examples: list[str] = msgspec.field(default_factory=list)
    sources: Counter[str] = msgspec.field(default_factory=Counter)
    reasons: Counter[str] = msgspec.field(default_factory=Counter)
    verdicts: Counter[str] = msgspec.field(default_factory=Counter)

    @property
    def open(self) -> int:
        """Questions that nothing has come of yet."""
        return self.asked - self.answered - self.unavailable - self.cut - self.hung

    def misplace(self, questions: int, text: str) -> None:
        """Something came back that was no answer to what was asked."""
        self.misplaced += max(1, questions)
        self.quote(text)

    def quote(self, text: str) -> None:
        """Keep an example for the report."""
        if len(self.examples) < _QUOTED:
            self.examples.append(text)

    def trouble(self, received: float) -> None:
        """A question got no verdict."""
        self.last_trouble = max(self.last_trouble, received)
