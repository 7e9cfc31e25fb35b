"""A verifier with a ledger, a clock and memory of its own."""

from __future__ import annotations

import json

from tests.engine.fakes import Clock, Ledger
from tests.invoice.samples import Given, Sample
from verifier.engine.freshness import Freshness
from verifier.engine.lanes import Limits
from verifier.engine.loader import Loader
from verifier.engine.memory import Memory, Sizes
from verifier.engine.verifier import Verifier
from verifier.invoice.claim import Item
from verifier.invoice.verdict import Judgement
from verifier.metrics import Metrics
from verifier.pacing import Pace, Turns
from verifier.state import Position
from verifier.wire.questions import decode_question

LIMITS = Limits(slots=3, max_batch=4, waiting_singles=50, waiting_bulk=50, max_wait=1.0)
ABSENT = Sample(number="26112000000000000009")
LONGEST_READ = 1.0


class Desk:
    """Holds them all, and asks as a decoded body would."""

    def __init__(
        self,
        *invoices: Sample,
        clock: Clock | None = None,
        max_staleness: float = 2.0,
        absence_seconds: float = 1.0,
        brownout: float = 0.0,
        limits: Limits = LIMITS,
    ) -> None:
        self.clock = clock or Clock()
        self.ledger = Ledger(self.clock, *invoices)
        self.metrics = Metrics()
        freshness = Freshness(max_staleness, brownout)
        sizes = Sizes(100, 100, absence_seconds, LONGEST_READ)
        self.memory = Memory(sizes, self.clock, self.metrics)
        self.loader = Loader(
            self.memory.keeping(self.ledger.fetch_many), limits, self.clock, self.metrics
        )
        self.verifier = Verifier(
            self.loader, self.ledger.fetch_at, self.memory, freshness, self.clock.both
        )

    async def ask(self, given: Given, *, at_least: Position | None = None) -> Judgement:
        """The answer to a question as its decoder would give it."""
        # A Match too as a Judgement, for tests to look at.
        return (await self.verifier.verify(item_of(given), at_least=at_least)).hinted()

    async def ask_many(
        self, *given: Given, at_least: Position | None = None, duplicates: bool = False
    ) -> list[Judgement]:
        """The answers to many, as a batch asks."""
        items = [item_of(one) for one in given]
        blocks = self.verifier.verify_many(
            items, at_least=at_least, duplicates=duplicates, pace=Pace(Turns())
        )
        return [answer.hinted() async for block in blocks for answer in block.answers]

    async def change(self, *samples: Sample) -> None:
        """Change the ledger, and let the change log say so at once."""
        self.ledger.put(*samples)
        await self.memory.apply([sample.key for sample in samples], everything=False)
        self.ledger.applied = self.memory.applied


def item_of(given: Given) -> Item:
    """A question through its JSON, where an amount may be a number."""
    return decode_question(json.dumps(given).encode())
