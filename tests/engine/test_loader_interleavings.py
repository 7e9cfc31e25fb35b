"""The loader under every order of events that hypothesis can think of."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.engine.fakes import Clock, Read, SlowLedger, begin, turns
from verifier.engine import lanes
from verifier.engine.calls import Loaded
from verifier.engine.lanes import Limits
from verifier.engine.loader import Loader
from verifier.errors import Unavailable
from verifier.metrics import Metrics
from verifier.wire.records import Finding

LIMITS = Limits(slots=3, max_batch=2, waiting_singles=4, waiting_bulk=3, max_wait=1.0)

some_keys = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=5, unique=True)
REASONS = {"overloaded", "timeout", "closing", "failed", "unchecked", "no_database"}


class Callers(RuleBasedStateMachine):
    """Callers come, are cancelled, and are answered, in any order and by any kind of outcome."""

    def __init__(self) -> None:
        super().__init__()
        # Keys that wait for company leave when a query returns, never by the real clock.
        self.patched = patch.object(lanes, "JUST_NOW", 1e9)
        self.patched.start()
        self.loop = asyncio.new_event_loop()
        self.heard: list[Any] = []
        self.loop.set_exception_handler(lambda _, context: self.heard.append(context))
        self.clock = Clock()
        self.ledger = SlowLedger()
        self.loader = Loader(self.ledger.fetch_many, LIMITS, self.clock, Metrics())
        self.callers: list[tuple[list[str], asyncio.Task[Loaded]]] = []
        self.closing: asyncio.Task[None] | None = None
        self.bugs = 0
        self.checked = 0

    @property
    def running(self) -> list[Read]:
        """Queries that have no answer yet."""
        return [read for read in self.ledger.reads if not read.answer.done()]

    def settle(self) -> None:
        """Let everything run until it waits for the test."""
        self.loop.run_until_complete(turns())

    @rule(keys=some_keys, bulk=st.booleans())
    def ask(self, keys: list[str], bulk: bool) -> None:
        """A caller asks."""
        task = self.loop.run_until_complete(begin(self.loader, *keys, bulk=bulk))
        self.callers.append((keys, task))

    @precondition(lambda self: self.callers)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """A caller goes away, perhaps at the moment of its answer."""
        _, task = data.draw(st.sampled_from(self.callers))
        task.cancel()
        if data.draw(st.booleans()):
            self.settle()

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        """A query ends in one of the ways in which queries end."""
        read = data.draw(st.sampled_from(self.running))
        match data.draw(st.sampled_from(["all", "some", "down", "bug", "cancelled"])):
            case "all":
                read.succeed()
            case "some":
                del read.keys[0]
                read.succeed()
            case "down":
                read.fail(Unavailable("no_database"))
            case "bug":
                self.bugs += 1
                read.fail(ZeroDivisionError())
            case _:
                read.answer.cancel()
        if data.draw(st.booleans()):
            self.settle()

    @rule(seconds=st.sampled_from([0.3, 0.9, 1.2]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.now += seconds

    @precondition(lambda self: self.closing is None and len(self.callers) > 5)
    @rule()
    def close(self) -> None:
        """The process ends."""
        self.closing = self.loop.create_task(self.loader.close())
        self.settle()

    @invariant()
    def bounds_hold(self) -> None:
        """No bound of the limits is exceeded, and the counters say what is there."""
        loader = self.loader
        singles, bulk = loader.waiting
        assert singles <= LIMITS.waiting_singles
        assert bulk <= LIMITS.waiting_bulk
        assert len(self.running) <= loader.reading <= LIMITS.slots
        assert sum(lane.reads for lane in loader._lanes) == loader.reading
        for lane, slots in zip(loader._lanes, (LIMITS.slots, LIMITS.slots - 1), strict=True):
            assert 0 <= lane.reads <= slots
        waiting = [key for lane in loader._lanes for key, _ in lane.queue]
        assert len(waiting) == len(set(waiting))
        assert set(waiting) <= loader._calls.keys()

    @invariant()
    def queries_are_batches_of_distinct_keys(self) -> None:
        """No query is empty or too large, and no key is in two queries at once."""
        for read in self.ledger.reads[self.checked :]:
            assert 1 <= len(read.keys) <= LIMITS.max_batch
        self.checked = len(self.ledger.reads)
        asked = [key for read in self.running for key in read.keys]
        assert len(asked) == len(set(asked))

    @invariant()
    def callers_that_are_done_have_one_outcome_per_key(self) -> None:
        """Every caller that has its answer has one for each key it asked, and no other."""
        for keys, task in self.callers:
            if not task.done() or task.cancelled():
                continue
            loaded = task.result()
            assert loaded.outcomes.keys() == set(keys)
            assert loaded.joined <= set(keys)
            for outcome in loaded.outcomes.values():
                assert isinstance(outcome, Finding) or outcome.reason in REASONS

    def teardown(self) -> None:
        """Once every query has ended, everybody has an answer and nothing is left."""
        self.settle()
        while self.running:
            for read in self.running:
                read.succeed()
            self.settle()
        assert all(task.done() for _, task in self.callers)
        self.callers_that_are_done_have_one_outcome_per_key()
        assert self.loader.waiting == (0, 0)
        assert self.loader.reading == 0
        assert self.loader._calls == {}
        errors = [type(context.get("exception")) for context in self.heard]
        assert errors == [ZeroDivisionError] * self.bugs
        if self.closing is not None:
            assert self.closing.done()
        self.loop.close()
        self.patched.stop()


Callers.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestInterleavings = Callers.TestCase
TestInterleavings.__doc__ = "Every caller gets exactly one outcome per key, whatever the order."
