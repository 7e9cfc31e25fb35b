"""The staleness bound under every order of events that hypothesis can think of.

Memory, loader and verifier are the real ones, and so is the dating of replicas; databases and
writers are those of ``model.py``. Writers commit and are acknowledged, replicas replay, reads see
one state and arrive with it later, feeds stall, servers restart behind, replicas are promoted. No
answer may be older than the bound, nor older than it says of itself.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.engine.desk import item_of
from tests.engine.fakes import Clock
from tests.engine.model import BY_KEY, KEYS, REGION, Model, Version
from verifier.engine import lanes
from verifier.engine import memory as memory_module
from verifier.engine.freshness import Freshness
from verifier.engine.lanes import Limits
from verifier.engine.loader import Loader
from verifier.engine.memory import Memory, Sizes
from verifier.engine.verifier import Verifier
from verifier.invoice.verdict import Answer
from verifier.metrics import Metrics
from verifier.state import Position
from verifier.wire.records import Finding

# Below the life of an absence, so that each of the two is what counts at times.
BOUND = 0.7
SIZES = Sizes(cache_entries=100, absence_entries=100, absence_seconds=1.0, longest_read=1.5)
LIMITS = Limits(slots=4, max_batch=2, waiting_singles=50, waiting_bulk=50, max_wait=10.0)

some_keys = st.lists(st.sampled_from(KEYS), min_size=1, max_size=2, unique=True)
any_server = st.integers(0, 2)


class Asked(msgspec.Struct):
    """A question: when it started, which commit it must show, and its answer once it is there."""

    key: str
    started: float
    at_least: int
    task: asyncio.Task[Answer]


class Databases(RuleBasedStateMachine):
    """Writers, three servers, readers and a clock, in any order."""

    def __init__(self) -> None:
        super().__init__()
        # A feed gives way after each key.
        self.patched = ExitStack()
        self.patched.enter_context(patch.object(memory_module, "_KEYS_PER_PIECE", 1))
        # No query waits for company, which would bring the real clock into the model.
        self.patched.enter_context(patch.object(lanes, "JUST_NOW", 0.0))
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.model = Model(self.clock, self.loop)
        self.asked: list[Asked] = []
        self.quiet = 0  # steps since something drastic happened
        self.lagging = [False] * 3  # whose replay stands still
        self.stalled = [False] * 3  # whose probes and feed stand still
        metrics = Metrics()
        memory = self.model.memory = self.remembering(metrics)
        loader = Loader(memory.keeping(self.model.fetch_many), LIMITS, self.clock, metrics)
        self.verifier = Verifier(
            loader, self.model.fetch_at, memory, Freshness(BOUND), self.clock.both
        )
        self.wait(0.1)

    def remembering(self, metrics: Metrics) -> Memory:
        """The memory under test."""
        return Memory(SIZES, self.clock, metrics)

    @rule(keys=some_keys, there=st.booleans(), heard=st.booleans())
    def change(self, keys: list[str], there: bool, heard: bool) -> None:
        """A transaction writes invoices, of which the first may be gone afterwards."""
        number = self.model.commits + 1
        wrote: dict[str, Version] = {
            key: number if there or at else None for at, key in enumerate(keys)
        }
        self.commit(wrote, heard)

    @rule(complete=st.integers(0, 1), heard=st.booleans())
    def move_watermark(self, complete: int, heard: bool) -> None:
        """The watermark passes the invoices' day, or falls back before it."""
        self.commit({REGION: complete}, heard)

    def commit(self, wrote: dict[str, Version], heard: bool) -> None:
        """A commit; perhaps its writer hears of it at once."""
        self.model.commit(wrote)
        if heard:
            self.model.acknowledge()

    @rule()
    def acknowledge(self) -> None:
        """All writers hear of their COMMIT."""
        self.model.acknowledge()

    @rule(seconds=st.sampled_from([0.1, 0.3, 0.6, 1.6]))
    def wait(self, seconds: float) -> None:
        """Time passes, in which those servers get on that nothing holds back."""
        self.clock.now += seconds
        for server, lagging, stalled in zip(
            self.model.servers, self.lagging, self.stalled, strict=True
        ):
            if not lagging:
                server.position = len(self.model.log)
            if not stalled:
                for _ in range(2):
                    self.model.probe(server)
                    self.model.feed(server, 1_000)

    @precondition(lambda self: self.quiet > 5)
    @rule(server=any_server, lagging=st.booleans(), stalled=st.booleans())
    def disturb(self, server: int, lagging: bool, stalled: bool) -> None:
        """A server's replay or its feed is held back from now on, or goes on."""
        self.lagging[server] = lagging
        self.stalled[server] = stalled

    @rule(server=any_server, data=st.data())
    def replay(self, server: int, data: st.DataObject) -> None:
        """A replica gets on with the log."""
        replica, end = self.model.servers[server], len(self.model.log)
        if replica.position < end:
            replica.position = data.draw(st.integers(replica.position + 1, end))

    @rule(server=any_server, turns=st.integers(0, 3))
    def look(self, server: int, turns: int) -> None:
        """A target asks its server, or gets on with what its feed shows."""
        self.model.probe(self.model.servers[server])
        self.model.feed(self.model.servers[server], turns)

    @precondition(lambda self: self.quiet > 10)
    @rule(server=any_server, data=st.data())
    def restart(self, server: int, data: st.DataObject) -> None:
        """A replica crashes and comes back, perhaps behind where it was."""
        replica = self.model.servers[server]
        if replica is not self.model.primary:
            self.quiet = 0
            self.model.restart(replica, data.draw(st.integers(0, replica.position)))

    @precondition(lambda self: self.quiet > 10)
    @rule(server=any_server)
    def promote(self, server: int) -> None:
        """Another server becomes the primary."""
        if self.model.servers[server] is not self.model.primary:
            self.quiet = 0
            self.model.promote(self.model.servers[server])

    @rule(key=st.sampled_from(KEYS), server=any_server, seen=st.booleans())
    def ask(self, key: str, server: int, seen: bool) -> None:
        """A question; what memory lacks is read from one of the servers."""
        self.model.preferred = self.model.servers[server]
        self.start(key, None, 0)
        if seen and self.model.reads:
            self.model.see(self.model.reads[-1])

    @rule(server=any_server, data=st.data())
    def ask_at(self, server: int, data: st.DataObject) -> None:
        """A question of somebody who has been told of a commit."""
        told = [
            (at, commit)
            for at, commit in enumerate(self.model.log, 1)
            if commit.acknowledged and REGION not in commit.wrote
        ]
        if told:
            self.model.preferred = self.model.servers[server]
            at, commit = data.draw(st.sampled_from(told))
            key = data.draw(st.sampled_from(sorted(commit.wrote)))
            self.start(key, Position(self.model.timeline, at), commit.number)

    def start(self, key: str, position: Position | None, at_least: int) -> None:
        """Ask about a key."""
        question = self.verifier.verify(item_of(BY_KEY[key].minimal()), at_least=position)
        task = self.loop.create_task(question)
        self.asked.append(Asked(key, self.clock(), at_least, task))
        self.model.settle()

    @precondition(lambda self: self.model.reads)
    @rule(data=st.data())
    def look_up(self, data: st.DataObject) -> None:
        """A query sees the state of its server; its result is still on its way."""
        self.model.see(data.draw(st.sampled_from(self.model.reads)))

    @precondition(lambda self: self.model.reads)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        """A query's result arrives."""
        self.model.arrive(data.draw(st.sampled_from(self.model.reads)))

    @invariant()
    def answers_are_right(self) -> None:
        """Each answer was right at some moment within the bound, and is no older than it says."""
        self.quiet += 1
        done = [asked for asked in self.asked if asked.task.done()]
        self.asked = [asked for asked in self.asked if not asked.task.done()]
        for asked in done:
            answer = asked.task.result().hinted()
            if answer.verdict != "unavailable":
                assert answer.reading is not None
                right, key = self.model.was_right, asked.key
                at_least = asked.at_least
                assert right(key, answer, asked.started - BOUND, at_least), "older than the bound"
                assert right(key, answer, answer.reading.as_of, at_least), "older than it says"

    def teardown(self) -> None:
        """Everybody gets an answer in the end."""
        try:
            while self.model.reads:
                self.model.arrive(self.model.reads[0])
            self.answers_are_right()
            assert not self.asked
        finally:
            for server in self.model.servers:
                server.drop_look()
            self.loop.close()
            self.patched.close()


Databases.TestCase.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
TestStaleness = Databases.TestCase
TestStaleness.__doc__ = "No answer is older than the bound, whatever the order of events."


class Unguarded(Databases):
    """The same with a memory that keeps whatever a read brings."""

    def remembering(self, metrics: Metrics) -> Memory:
        """Memory without the refill guard."""

        class Careless(Memory):
            def _may_keep(self, key: str, finding: Finding) -> bool:
                return True

        return Careless(SIZES, self.clock, metrics)


def test_without_the_refill_guard_an_old_answer_is_found() -> None:
    """The same search finds an answer beyond the bound once the guard is taken away."""
    search = settings(
        max_examples=10_000,
        stateful_step_count=60,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
    )
    with pytest.raises(AssertionError, match="older than"):
        run_state_machine_as_test(Unguarded, settings=search)


def test_of_two_feeds_that_tell_of_a_key_the_later_one_counts() -> None:
    """A feed that is slow to apply a long list does not undo what another said meanwhile.

    Too rare an order for the search: the read begins while the primary's feed is half applied, the
    replica's feed tells of the key, then the primary's feed does, then the read arrives.
    """
    machine = Databases()
    model = machine.model
    key, other = KEYS
    primary, replica, third = model.servers
    try:
        machine.commit({other: 1, key: 1}, heard=True)
        machine.wait(0.3)
        machine.lagging[1] = True
        machine.commit({other: 2, key: 2}, heard=True)
        third.position = 2
        for server, turns in ((third, 9), (primary, 1), (replica, 9)):
            model.probe(server)
            model.feed(server, turns)
        machine.ask(key, 1, seen=True)
        replica.position = 2
        model.probe(replica)
        model.feed(replica, 9)
        model.feed(primary, 9)
        model.arrive(model.reads[0])
        for _ in range(4):
            machine.wait(0.3)
        machine.answers_are_right()
        machine.ask(key, 1, seen=True)
        machine.answers_are_right()
    finally:
        machine.teardown()
