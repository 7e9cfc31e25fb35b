"""The staleness bound under every order of events that hypothesis can think of.

The memory, the loader and the verifier are the real ones, and so is the dating of replicas; the
databases are models that do what ``ledger/targets.py`` does, a step at a time: probe, apply what
the feed shows, publish a reading. In between, writers commit and are acknowledged, replicas replay,
reads see one state and arrive with it later, feeds stall, servers restart behind, replicas are
promoted. No answer may be older than the bound, nor older than it says of itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any
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
from tests.engine.fakes import Clock, Found, turns
from tests.invoice.samples import Sample
from verifier.engine import memory as memory_module
from verifier.engine.freshness import Freshness
from verifier.engine.loader import Limits, Loader
from verifier.engine.memory import Memory, Sizes
from verifier.engine.verifier import Verifier
from verifier.errors import Unavailable
from verifier.invoice.record import Finding, Live, Position, Reading, Record
from verifier.invoice.verdict import Answer
from verifier.ledger.probes import History, Probe
from verifier.metrics import Metrics

BOUND = 2.0
LIMITS = Limits(slots=4, max_batch=2, waiting_singles=50, waiting_bulk=50, max_wait=10.0)
SIZES = Sizes(cache_entries=100, absence_entries=100, absence_seconds=1.0, longest_read=1.5)

SAMPLES = [Sample(number=f"2611200000000000000{digit}") for digit in range(2)]
BY_KEY = {sample.key: sample for sample in SAMPLES}
KEYS = [sample.key for sample in SAMPLES]

# What a key holds: the number of the commit that wrote it, None when it is not there.
Version = int | None

some_keys = st.lists(st.sampled_from(KEYS), min_size=1, max_size=2, unique=True)


class Commit(msgspec.Struct):
    """A transaction of the primary: the keys it wrote, and whether they are there afterwards."""

    number: int
    wrote: dict[str, Version]
    acknowledged: bool = False


class Span(msgspec.Struct):
    """When a version of a key was the right answer: from its COMMIT on, for ever or until."""

    version: Version
    since: float
    until: float = float("inf")


class Server:
    """A database and the target that watches it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.position = 0  # how many commits of the log it shows
        self.fed = 0  # how many its feed has told of
        self.probe: Probe | None = None
        self.live = Live()
        self.reading: Reading | None = None
        self.looking: tuple[Probe, float, Coroutine[Any, Any, None]] | None = None
        self.restarted = True
        self.lagging = False  # its replay stands still but for what the machine says
        self.stalled = False  # the same of its probes and its feed

    def drop_look(self) -> None:
        """Its connection for probes is gone."""
        if self.looking is not None:
            self.looking[2].close()
            self.looking = None


class Read:
    """A query under way: what it will say once it has seen its state."""

    def __init__(self, server: Server, keys: Sequence[str]) -> None:
        assert server.reading is not None
        self.server, self.keys, self.reading = server, list(keys), server.reading
        self.seen: Found | None = None
        self.result: asyncio.Future[Found] = asyncio.get_running_loop().create_future()


class Asked(msgspec.Struct):
    """A question: when it started, what it must at least show, and its answer once it is there."""

    key: str
    started: float
    at_least: int | None
    task: asyncio.Task[Answer]


class Databases(RuleBasedStateMachine):
    """Writers, three servers, readers and a clock, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.patched = patch.object(memory_module, "_KEYS_PER_TURN", 1)
        self.patched.start()
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.commits = 0
        self.timeline = 1
        self.log: list[Commit] = []
        self.history = History()
        self.spans: dict[str, list[Span]] = {key: [Span(None, 0.0)] for key in KEYS}
        self.servers = [Server("primary"), Server("replica-1"), Server("replica-2")]
        self.primary = self.servers[0]
        self.preferred = self.primary
        self.reads: list[Read] = []
        self.asked: list[Asked] = []
        self.quiet = 0  # steps since something drastic happened
        freshness = Freshness(BOUND)
        metrics = Metrics()
        self.memory = self.remembering(metrics)
        loader = Loader(self.memory.keeping(self.fetch_many), LIMITS, self.clock, metrics)
        self.verifier = Verifier(loader, self.fetch_at, self.memory, freshness, self.clock)
        self.wait(0.1)

    def remembering(self, metrics: Metrics) -> Memory:
        """The memory under test."""
        return Memory(SIZES, self.clock, metrics)

    # The ledger as the verifier sees it.

    async def fetch_many(self, keys: Sequence[str]) -> Found:
        """A query to the server that is preferred now."""
        return await self.read(self.preferred, keys)

    async def fetch_at(self, keys: Sequence[str], position: Position) -> Found:
        """The same where a position is known to be passed, else on the primary."""
        for server in self.servers:
            if server.reading is not None and server.reading.shows(position):
                return await self.read(server, keys)
        if self.timeline < position.timeline:
            raise Unavailable("other_timeline")
        return await self.read(self.primary, keys)

    async def read(self, server: Server, keys: Sequence[str]) -> Found:
        """A query: it sees a state when it is told to, and arrives when it is told to."""
        if server.reading is None or server.restarted:
            raise Unavailable("no_database")
        read = Read(server, keys)
        self.reads.append(read)
        return await read.result

    def shown(self, server: Server, key: str) -> Version:
        """What a key holds on a server now."""
        for commit in reversed(self.log[: server.position]):
            if key in commit.wrote:
                return commit.wrote[key]
        return None

    def see(self, read: Read) -> Found:
        """The rows as the read's server has them now."""
        if read.seen is None:
            found = {key: self.shown(read.server, key) for key in read.keys}
            read.seen = {
                key: Finding(None if version is None else record(key, version), read.reading)
                for key, version in found.items()
            }
        return read.seen

    # Writers.

    @rule(keys=some_keys, there=st.booleans(), heard=st.booleans())
    def commit(self, keys: list[str], there: bool, heard: bool) -> None:
        """A transaction becomes visible on the primary; perhaps its writer hears of it at once."""
        self.commits += 1
        number = self.commits
        wrote = {key: number if there or at else None for at, key in enumerate(keys)}
        self.log.append(Commit(number, wrote))
        self.primary.position = len(self.log)
        for key, version in wrote.items():
            self.spans[key].append(Span(version, self.clock()))
        if heard:
            self.acknowledge()

    @precondition(lambda self: any(not commit.acknowledged for commit in self.log))
    @rule()
    def acknowledge(self) -> None:
        """All writers hear of their COMMIT."""
        for commit in self.log:
            if not commit.acknowledged:
                commit.acknowledged = True
        for spans in self.spans.values():
            # Of several commits of a key the last one stands.
            for span in spans[:-1]:
                span.until = min(span.until, self.clock())

    # Databases.

    @precondition(lambda self: self.quiet > 5)
    @rule(server=st.integers(0, 2), lagging=st.booleans(), stalled=st.booleans())
    def disturb(self, server: int, lagging: bool, stalled: bool) -> None:
        """A server's replay or its feed stands still from now on, or goes on."""
        self.servers[server].lagging = lagging
        self.servers[server].stalled = stalled

    @rule(seconds=st.sampled_from([0.1, 0.3, 0.6, 1.6]))
    def wait(self, seconds: float) -> None:
        """Time passes, in which those servers get on that nothing holds back."""
        self.clock.now += seconds
        for number, server in enumerate(self.servers):
            if not server.lagging:
                server.position = len(self.log)
            if not server.stalled:
                for _ in range(2):
                    self.probe(number)
                    self.feed(number, 1_000)

    @rule(server=st.integers(1, 2), data=st.data())
    def replay(self, server: int, data: st.DataObject) -> None:
        """A replica gets on with the log."""
        replica = self.servers[server]
        if replica is not self.primary and replica.position < len(self.log):
            replica.position = data.draw(st.integers(replica.position + 1, len(self.log)))

    def probe(self, server: int) -> None:
        """A target asks its server for its state, and begins to apply what its feed shows."""
        target = self.servers[server]
        if target.looking is not None:
            return
        is_primary = target is self.primary
        probe = Probe(self.clock(), not is_primary, self.timeline, target.position, {})
        lost = target.restarted or target.probe is None or target.probe.lsn > probe.lsn
        known = 0.0 if lost or target.reading is None else target.reading.as_of
        if is_primary:
            self.history.add(probe, "")
            as_of = probe.began
        else:
            as_of = max(known, self.history.covered(probe.timeline, probe.lsn) or 0.0)
        if lost:
            target.live.reading = None
            target.live = Live()
            target.fed = target.position
        news = self.log[target.fed : target.position]
        target.fed = target.position
        keys = [key for commit in news for key in commit.wrote]
        target.looking = probe, as_of, self.memory.apply(keys, everything=False)

    def feed(self, server: int, steps: int) -> None:
        """A feed gets on, a key at a time; at its end the reading is published."""
        target = self.servers[server]
        if target.looking is None:
            return
        probe, as_of, applying = target.looking
        try:
            for _ in range(steps):
                applying.send(None)
        except StopIteration:
            target.looking = None
            target.probe = probe
            target.restarted = False
            target.reading = target.live.reading = Reading(
                "primary" if target is self.primary else "replica",
                as_of,
                {},
                self.memory.applied,
                Position(probe.timeline, probe.lsn),
                target.live,
            )

    @rule(server=st.integers(0, 2), steps=st.integers(0, 3))
    def look(self, server: int, steps: int) -> None:
        """A target asks its server, or gets on with its feed, by so many keys."""
        self.probe(server)
        self.feed(server, steps)

    @precondition(lambda self: self.quiet > 10)
    @rule(server=st.integers(1, 2), data=st.data())
    def restart(self, server: int, data: st.DataObject) -> None:
        """A replica crashes and comes back, perhaps behind where it was."""
        replica = self.servers[server]
        if replica is not self.primary:
            self.fall(replica, data.draw(st.integers(0, replica.position)))

    def fall(self, server: Server, position: int) -> None:
        """Connections break; the server is elsewhere in the log when it is back."""
        self.quiet = 0
        server.drop_look()
        server.position = position
        server.restarted = True
        for read in [read for read in self.reads if read.server is server]:
            self.reads.remove(read)
            read.result.set_exception(Unavailable("no_database"))
        self.settle()

    @precondition(lambda self: self.quiet > 10)
    @rule(server=st.integers(0, 2), data=st.data())
    def promote(self, server: int, data: st.DataObject) -> None:
        """The primary dies and a replica takes over with all that was acknowledged.

        What was not acknowledged may be lost with the old primary, which comes back as a replica.
        """
        chosen = self.servers[server]
        if chosen is self.primary:
            return
        needed = max(
            (at for at, commit in enumerate(self.log, 1) if commit.acknowledged), default=0
        )
        end = max(needed, chosen.position)
        for commit in self.log[end:]:
            for key in commit.wrote:
                for span in self.spans[key]:
                    if span.version == commit.wrote[key] and span.until == float("inf"):
                        # None may be what it was before as well, so it stays right.
                        if span.version is not None:
                            span.until = self.clock()
        for key, spans in self.spans.items():
            last = self.shown_in(key, end)
            spans.append(Span(last, self.clock()))
        del self.log[end:]
        old, self.primary = self.primary, chosen
        self.timeline += 1
        chosen.position = end
        for each in self.servers:
            if each is old or each.position > end:
                self.fall(each, min(each.position, end))
        # Its target as a replica ends, the primary's target finds it anew.
        self.fall(chosen, end)

    def shown_in(self, key: str, end: int) -> Version:
        """What a key holds after so many commits."""
        for commit in reversed(self.log[:end]):
            if key in commit.wrote:
                return commit.wrote[key]
        return None

    # Readers.

    def settle(self) -> None:
        """Let everything run until it waits for the machine."""
        self.loop.run_until_complete(turns())

    @rule(key=st.sampled_from(KEYS), server=st.integers(0, 2), seen=st.booleans())
    def ask(self, key: str, server: int, seen: bool) -> None:
        """A question; what memory lacks is read from one of the servers."""
        self.preferred = self.servers[server]
        self.start(key, None, None)
        if seen and self.reads:
            self.see(self.reads[-1])

    @rule(server=st.integers(0, 2), data=st.data())
    def ask_at(self, server: int, data: st.DataObject) -> None:
        """A question of somebody who has been told of a commit."""
        told = [(at, commit) for at, commit in enumerate(self.log, 1) if commit.acknowledged]
        if told:
            self.preferred = self.servers[server]
            at, commit = data.draw(st.sampled_from(told))
            key = data.draw(st.sampled_from(sorted(commit.wrote)))
            self.start(key, Position(self.timeline, at), at)

    def start(self, key: str, position: Position | None, at_least: int | None) -> None:
        """Ask about a key."""
        question = self.verifier.verify(item_of(BY_KEY[key].minimal()), at_least=position)
        task = self.loop.create_task(question)
        self.asked.append(Asked(key, self.clock(), at_least, task))
        self.settle()

    @precondition(lambda self: self.reads)
    @rule(data=st.data())
    def look_up(self, data: st.DataObject) -> None:
        """A query sees the state of its server; its result is still on its way."""
        self.see(data.draw(st.sampled_from(self.reads)))

    @precondition(lambda self: self.reads)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        """A query's result arrives."""
        read = data.draw(st.sampled_from(self.reads))
        self.reads.remove(read)
        read.result.set_result(self.see(read))
        self.settle()

    @invariant()
    def answers_are_right(self) -> None:
        """Each answer was right at some moment within the bound, and is no older than it says."""
        self.quiet += 1
        done = [asked for asked in self.asked if asked.task.done()]
        self.asked = [asked for asked in self.asked if not asked.task.done()]
        for asked in done:
            answer = asked.task.result()
            if answer.verdict == "unavailable":
                continue
            version = None if answer.record is None else int(answer.record.amount[:-3])
            assert answer.verdict == ("not_found" if version is None else "match")
            spans = [span for span in self.spans[asked.key] if span.version == version]
            assert any(span.until >= asked.started - BOUND for span in spans), (
                "older than the bound"
            )
            assert answer.reading is not None
            assert any(span.until >= answer.reading.as_of for span in spans), "older than it says"

    def teardown(self) -> None:
        """Everybody gets an answer in the end."""
        try:
            for read in self.reads:
                read.result.set_result(self.see(read))
            self.settle()
            self.answers_are_right()
            assert not self.asked
        finally:
            for server in self.servers:
                server.drop_look()
            self.loop.close()
            self.patched.stop()


def record(key: str, version: int) -> Record:
    """The invoice as a commit has left it: its amount, which nobody asks about, says which."""
    return msgspec.structs.replace(BY_KEY[key].record(), amount=f"{version}.00")


Databases.TestCase.settings = settings(
    max_examples=int(__import__("os").environ.get("EX", "200")),
    stateful_step_count=60,
    deadline=None,
)
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
        max_examples=3_000,
        stateful_step_count=60,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
    )
    with pytest.raises(AssertionError, match="older than"):
        run_state_machine_as_test(Unguarded, settings=search)  # type: ignore[no-untyped-call]
