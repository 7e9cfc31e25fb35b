"""A loader with everything around it."""

from __future__ import annotations

import asyncio
from math import inf

from tests.engine.fakes import Clock, SlowLedger, begin, turns
from verifier.engine.calls import Loaded
from verifier.engine.lanes import Limits
from verifier.engine.loader import Loader
from verifier.errors import Unavailable
from verifier.metrics import Metrics

LIMITS = Limits(slots=1, max_batch=3, waiting_singles=4, waiting_bulk=2, max_wait=1.0)


class Desk:
    """Begins callers, answers their queries, and looks whether anything was left behind."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.clock = Clock()
        self.ledger = SlowLedger()
        self.metrics = Metrics()
        self.loader = Loader(self.ledger.fetch_many, limits, self.clock, self.metrics)

    async def begin(
        self, *keys: str, deadline: float = inf, bulk: bool = False
    ) -> asyncio.Task[Loaded]:
        """A caller that has asked and now waits."""
        return await begin(self.loader, *keys, deadline=deadline, bulk=bulk)

    async def finish(self) -> None:
        """Answer all queries, also those that start meanwhile; nothing may be left behind."""
        while unanswered := [read for read in self.ledger.reads if not read.answer.done()]:
            for read in unanswered:
                read.succeed()
            await turns()
        self.check_empty()

    def check_empty(self) -> None:
        """Nobody waits, nothing runs, nothing is remembered."""
        assert self.loader.waiting == (0, 0)
        assert self.loader.reading == 0
        assert self.loader._calls == {}
        assert [lane.reads for lane in self.loader._lanes] == [0, 0]


def reason(loaded: Loaded, key: str) -> str:
    """Why a key could not be checked."""
    outcome = loaded.outcomes[key]
    assert isinstance(outcome, Unavailable)
    return outcome.reason
