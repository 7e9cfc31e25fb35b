"""A clock that stands still, and ledgers that answer when they are told to, or at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from math import inf
from typing import Any, Literal

import msgspec

from tests.invoice.samples import NOON, Sample
from verifier.clocks import Clocks
from verifier.engine.calls import Loaded
from verifier.engine.loader import Loader
from verifier.errors import Unavailable
from verifier.state import Live, Position, Reading
from verifier.wire.records import Absence, Finding, Record

Found = Mapping[str, Finding]


class Clock:
    """Seconds since the epoch, moved by hand; steady clock and wall clock at once."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now
        self.both = Clocks(self, self)

    def __call__(self) -> float:
        """The time."""
        return self.now


async def turns() -> None:
    """Let everything run that can run without an answer of a ledger."""
    for _ in range(10):
        await asyncio.sleep(0)


def absent(as_of: float = NOON) -> Finding:
    """What a replica says about a key that is not there."""
    return Absence(Reading("replica", as_of, {}))


class Read:
    """One query of a SlowLedger: what was asked, and a future for the answer."""

    def __init__(self, keys: Sequence[str], deadline: float) -> None:
        self.keys = list(keys)
        self.deadline = deadline
        self.answer: asyncio.Future[Found] = asyncio.get_running_loop().create_future()

    def succeed(self) -> Found:
        """Answer every key as absent; the findings are told apart by their identity."""
        found = {key: absent() for key in self.keys}
        self.answer.set_result(found)
        return found

    def fail(self, error: Exception) -> None:
        """Raise an error."""
        self.answer.set_exception(error)


class SlowLedger:
    """Keeps each query until the test answers it."""

    def __init__(self) -> None:
        self.reads: list[Read] = []

    def fetch_many(self, keys: Sequence[str], deadline: float) -> Coroutine[Any, Any, Found]:
        """Note the query at once, and wait for its answer."""
        read = Read(keys, deadline)
        self.reads.append(read)
        return self._wait(read)

    async def _wait(self, read: Read) -> Found:
        return await read.answer

    @property
    def asked(self) -> list[list[str]]:
        """The keys of each query so far."""
        return [read.keys for read in self.reads]


async def begin(
    loader: Loader, *keys: str, deadline: float = inf, bulk: bool = False
) -> asyncio.Task[Loaded]:
    """A caller that has asked and now waits."""
    task = asyncio.get_running_loop().create_task(loader.load(keys, deadline, bulk=bulk))
    await turns()
    return task


class Ledger:
    """Answers at once from what it holds; can be down, stale, behind or forgetful."""

    def __init__(self, clock: Clock, *samples: Sample) -> None:
        self.clock = clock
        self.records: dict[str, Record] = {sample.key: sample.record() for sample in samples}
        self.watermarks: dict[str, float] = {}
        self.age = 0.0
        self.down: Unavailable | None = None
        self.left_out: set[str] = set()
        self.lsn = 1
        self.applied = 0
        self.live: Live | None = None
        self.gate: asyncio.Event | None = None  # what has been read arrives once it is set
        self.reads: list[list[str]] = []
        self.reads_at: list[tuple[list[str], Position]] = []
        self.deadlines: list[float] = []

    @property
    def position(self) -> Position:
        """The place of the last change."""
        return Position(1, self.lsn)

    def put(self, *samples: Sample) -> None:
        """Hold these invoices too."""
        self.records |= {sample.key: sample.record() for sample in samples}
        self.lsn += 1

    async def fetch_many(self, keys: Sequence[str], deadline: float) -> Found:
        """What a replica says."""
        self.reads.append(list(keys))
        self.deadlines.append(deadline)
        found = self._find(keys, self.reading("replica", self.clock() - self.age))
        if self.gate is not None:
            await self.gate.wait()
        return found

    async def fetch_at(self, keys: Sequence[str], position: Position, deadline: float) -> Found:
        """What the primary says, which is never behind."""
        self.reads_at.append((list(keys), position))
        self.deadlines.append(deadline)
        return self._find(keys, self.reading("primary", self.clock()))

    def reading(self, source: Literal["replica", "primary"], as_of: float) -> Reading:
        """The state as it is now; a follower publishes it as its newest."""
        reading = Reading(
            source, as_of, dict(self.watermarks), self.applied, self.position, self.live
        )
        if self.live is not None:
            self.live.reading = reading
        return reading

    def _find(self, keys: Sequence[str], reading: Reading) -> Found:
        if self.down is not None:
            raise self.down
        return {
            key: seen(self.records.get(key), reading) for key in keys if key not in self.left_out
        }


def seen(record: Record | None, reading: Reading) -> Finding:
    """What a read finds."""
    if record is None:
        return Absence(reading)
    return msgspec.structs.replace(record, reading=reading)
