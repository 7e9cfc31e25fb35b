"""A model of a primary, two replicas and whoever writes to them, and what is right to say of them.

The databases do what ``ledger/lookup/watch.py`` does with real ones, a step at a time: probe, apply
what the feed shows, publish a reading. Positions are counted in commits. What was committed when is
remembered, so that an answer can be held against every state that it might have come from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from math import inf
from typing import Any

import msgspec

from tests.engine.fakes import Clock, Found, seen, turns
from tests.invoice.samples import Sample
from verifier.database.timelines import Timelines
from verifier.engine.memory import Memory
from verifier.errors import Unavailable
from verifier.invoice.verdict import Judgement
from verifier.ledger.lookup.dating import Dating
from verifier.ledger.lookup.probes import Probe
from verifier.state import Live, Position, Reading
from verifier.wire.records import Record

SAMPLES = [Sample(number=f"2611200000000000000{digit}") for digit in range(2)]
BY_KEY = {sample.key: sample for sample in SAMPLES}
KEYS = [sample.key for sample in SAMPLES]

# The one region's watermark is kept under this key: version 0 ends before the invoices' day, and
# what is not there is pending; version 1 ends after it, and what is not there is not found.
REGION = "1100"
WATERMARKS = [datetime(2026, 3, day, tzinfo=UTC).timestamp() for day in (1, 2)]

# What a key holds: the number of the commit that wrote it, None when it is not there.
Version = int | None


class Commit(msgspec.Struct):
    """A transaction of the primary: the keys it wrote, and what they hold afterwards."""

    number: int
    wrote: dict[str, Version]
    acknowledged: bool = False


class Span(msgspec.Struct):
    """When what a commit wrote was right: from then on until a later one was acknowledged."""

    version: Version
    commit: int = 0
    since: float = 0.0
    until: float = inf


class Server:
    """A database and the target that watches it."""

    def __init__(self) -> None:
        self.position = 0  # how many commits of the log it shows
        self.fed = 0  # how many its feed has told of
        self.probe: Probe | None = None
        self.live = Live()
        self.reading: Reading | None = None
        # A probe, what it proves, and the changes that have to be applied before that is published.
        self.looking: tuple[Probe, float, Coroutine[Any, Any, None]] | None = None
        self.restarted = True

    def drop_look(self) -> None:
        """The connection for probes is gone."""
        if self.looking is not None:
            self.looking[2].close()
            self.looking = None


class Read:
    """A query under way; ``seen`` is what it will say once it has seen its state."""

    def __init__(self, server: Server, keys: Sequence[str]) -> None:
        assert server.reading is not None
        self.server, self.keys, self.reading = server, list(keys), server.reading
        self.seen: Found | None = None
        self.result: asyncio.Future[Found] = asyncio.get_running_loop().create_future()


class Model:
    """The databases and their past. ``memory`` is told of changes; set it before anything moves."""

    memory: Memory

    def __init__(self, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self.clock = clock
        self.loop = loop
        self.timeline = 1
        self.commits = 0
        self.log: list[Commit] = []
        self.dating = Dating(Timelines())
        self.spans: dict[str, list[Span]] = {key: [Span(None)] for key in KEYS}
        self.spans[REGION] = [Span(0)]
        self.servers = [Server(), Server(), Server()]
        self.primary = self.servers[0]
        self.preferred = self.primary
        self.reads: list[Read] = []

    def settle(self) -> None:
        """Let everything run until it waits for something of the model."""
        self.loop.run_until_complete(turns())

    # The ledger as the engine sees it.

    async def fetch_many(self, keys: Sequence[str], _deadline: float) -> Found:
        """A query to the server that is preferred now."""
        return await self._read(self.preferred, keys)

    async def fetch_at(self, keys: Sequence[str], position: Position, _deadline: float) -> Found:
        """The same where a position is known to be passed, else on the primary."""
        for server in self.servers:
            if server.reading is not None and server.reading.shows(position):
                return await self._read(server, keys)
        return await self._read(self.primary, keys)

    async def _read(self, server: Server, keys: Sequence[str]) -> Found:
        if server.reading is None or server.restarted:
            raise Unavailable("no_database")
        read = Read(server, keys)
        self.reads.append(read)
        return await read.result

    def see(self, read: Read) -> Found:
        """The rows as the read's server has them now, unless it has seen some before."""
        if read.seen is None:
            versions = {key: self._shown(read.server, key) for key in read.keys}
            read.seen = {
                key: seen(None if version is None else _record(key, version), read.reading)
                for key, version in versions.items()
            }
        return read.seen

    def arrive(self, read: Read) -> None:
        """The result of a read arrives."""
        self.reads.remove(read)
        read.result.set_result(self.see(read))
        self.settle()

    def _shown(self, server: Server, key: str) -> Version:
        for commit in reversed(self.log[: server.position]):
            if key in commit.wrote:
                return commit.wrote[key]
        return self.spans[key][0].version

    # Writers.

    def commit(self, wrote: dict[str, Version]) -> None:
        """A transaction becomes visible on the primary."""
        self.commits += 1
        self.log.append(Commit(self.commits, wrote))
        self.primary.position = len(self.log)
        for key, version in wrote.items():
            self.spans[key].append(Span(version, self.commits, self.clock()))

    def acknowledge(self) -> None:
        """All writers hear of their COMMIT."""
        for commit in self.log:
            commit.acknowledged = True
        for spans in self.spans.values():
            # Of several commits of a key the last one stands.
            for span in [span for span in spans if span.until == inf][:-1]:
                span.until = self.clock()

    # Databases.

    def probe(self, server: Server) -> None:
        """A target asks its server for its state, and begins to apply what its feed shows."""
        if server.looking is not None:
            return
        is_primary = server is self.primary
        watermarks = {REGION: WATERMARKS[self._shown(server, REGION) or 0]}
        probe = Probe(self.clock(), not is_primary, self.timeline, server.position, watermarks)
        lost = server.restarted or server.probe is None or server.probe.lsn > probe.lsn
        if is_primary:
            self.dating.primary("", probe)
            as_of = probe.began
        else:
            known = 0.0 if lost or server.reading is None else server.reading.as_of
            as_of = max(known, self.dating.covered(probe.timeline, probe.lsn) or 0.0)
        if lost:
            server.live.reading = None
            server.live = Live()
            server.fed = server.position
        news = self.log[server.fed : server.position]
        server.fed = server.position
        keys = [key for commit in news for key in commit.wrote if key != REGION]
        server.looking = probe, as_of, self.memory.apply(keys, everything=False)

    def feed(self, server: Server, turns: int) -> None:
        """A feed gets on by so many turns; at its end the reading is published."""
        if server.looking is None:
            return
        probe, as_of, applying = server.looking
        try:
            for _ in range(turns):
                applying.send(None)
        except StopIteration:
            server.looking = None
            server.probe = probe
            server.restarted = False
            server.reading = server.live.reading = Reading(
                "primary" if server is self.primary else "replica",
                as_of,
                probe.watermarks,
                self.memory.applied,
                Position(probe.timeline, probe.lsn),
                server.live,
            )

    def restart(self, server: Server, position: int) -> None:
        """All connections break, and the server comes back, perhaps behind where it was."""
        server.drop_look()
        server.position = position
        server.restarted = True
        for read in [read for read in self.reads if read.server is server]:
            self.reads.remove(read)
            read.result.set_exception(Unavailable("no_database"))
        self.settle()

    def promote(self, chosen: Server) -> None:
        """The primary dies, and a replica takes over with all that was acknowledged.

        What was not may be lost with the old primary, which comes back as a replica.
        """
        acknowledged = (at for at, commit in enumerate(self.log, 1) if commit.acknowledged)
        end = max(max(acknowledged, default=0), chosen.position)
        lost = {commit.number for commit in self.log[end:]}
        for spans in self.spans.values():
            for span in spans:
                if span.commit in lost:
                    span.until = self.clock()
        del self.log[end:]
        self.timeline += 1
        old, self.primary = self.primary, chosen
        chosen.position = end
        for server in self.servers:
            # The chosen one's target as a replica ends, and the primary's finds it anew.
            if server in (old, chosen) or server.position > end:
                self.restart(server, min(server.position, end))

    # What is right.

    def was_right(self, key: str, answer: Judgement, oldest: float, at_least: int) -> bool:
        """Whether an answer was right at the moment ``oldest`` or at a later one.

        It must come from a state that includes the commit ``at_least`` of the key.
        """
        if answer.record is not None:
            assert answer.verdict == "match"
            version = int(answer.record.amount.partition(".")[0])
            return any(span.commit >= at_least for span in self._held(key, version, oldest))
        # An invoice that came with the watermark, or before it, is not missed.
        complete = ["pending", "not_found"].index(answer.verdict)
        return any(
            absence.until >= watermark.since
            for watermark in self._held(REGION, complete, oldest)
            for absence in self._held(key, None, oldest)
            if absence.commit >= at_least
        )

    def _held(self, key: str, version: Version, oldest: float) -> list[Span]:
        return [s for s in self.spans[key] if s.version == version and s.until >= oldest]


def _record(key: str, version: int) -> Record:
    """The invoice as a commit has left it: its amount, which nobody asks about, says which."""
    return msgspec.structs.replace(BY_KEY[key].record(), amount=f"{version}.00")
