"""A verifier with a ledger, a clock and memory of its own."""

from __future__ import annotations

import json

from tests.engine.fakes import Clock, Ledger
from tests.invoice.samples import Given, Sample
from verifier.api.codec import decode_question
from verifier.engine.cache import Cache
from verifier.engine.loader import Limits, Loader
from verifier.engine.verifier import Bounds, Item, Verifier
from verifier.invoice.verdict import Answer
from verifier.metrics import Metrics

LIMITS = Limits(slots=3, max_batch=4, waiting_singles=50, waiting_bulk=50, max_wait=1.0)
BOUNDS = Bounds(max_staleness=2.0, absence_seconds=1.0)
ABSENT = Sample(number="26112000000000000009")


class Desk:
    """Holds them all, and asks as a decoded body would."""

    def __init__(
        self,
        *invoices: Sample,
        clock: Clock | None = None,
        bounds: Bounds = BOUNDS,
        limits: Limits = LIMITS,
    ) -> None:
        self.clock = clock or Clock()
        self.ledger = Ledger(self.clock, *invoices)
        self.metrics = Metrics()
        self.loader = Loader(self.ledger.fetch_many, limits, self.clock, self.metrics)
        self.verifier = Verifier(
            self.loader,
            self.ledger.fetch_primary,
            cache=Cache(100),
            absences=Cache(100),
            bounds=bounds,
            clock=self.clock,
            metrics=self.metrics,
        )

    async def ask(self, given: Given, *, fresh: bool = False) -> Answer:
        """The answer to a question as its decoder would give it."""
        return await self.verifier.verify(item_of(given), fresh=fresh)

    async def ask_many(self, *given: Given, fresh: bool = False) -> list[Answer]:
        """The answers to many, as a batch asks."""
        return await self.verifier.verify_many([item_of(one) for one in given], fresh=fresh)


def item_of(given: Given) -> Item:
    """A question through its JSON, where an amount may be a number."""
    return decode_question(json.dumps(given).encode())
