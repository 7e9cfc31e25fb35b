"""What the tests of the ledger share: lines, blocks, configurations."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from tests.support import Database, connected, wait_replayed, writer_of
from verifier.clocks import Clocks
from verifier.config import Config
from verifier.ledger.ingest.chunks import IngestResult, Rejection
from verifier.ledger.lookup.channels import Channel
from verifier.ledger.lookup.fleet import Fleet
from verifier.ledger.lookup.lookup import Lookup
from verifier.metrics import Metrics
from verifier.wire.records import Finding, Record


def number(sequence: int) -> str:
    """A 20-digit number of Beijing, 2026."""
    return f"2611{sequence:016d}"


def line(sequence: int, **changes: Any) -> bytes:
    """A line for the invoice ``number(sequence)``."""
    given = {
        "kind": "digital_ordinary",
        "code": "",
        "number": number(sequence),
        "date": "2026-03-01",
        "amount": "100.00",
        "tax": "13.00",
        "total": "113.00",
        "check_code": "",
        "seller_tax_id": "91110108MA01ABCD12",
        "seller_name": "测试销售有限公司",
        "buyer_tax_id": "",
        "buyer_name": "测试个人",
        "status": "normal",
    }
    return msgspec.json.encode({**given, **changes})


def red_letter(sequence: int, blue: int, **changes: Any) -> bytes:
    """A line for a red letter that takes ``number(blue)`` back."""
    return line(
        sequence,
        amount="-100.00",
        tax="-13.00",
        total="-113.00",
        status="red_letter",
        red_letter_of={"code": "", "number": number(blue)},
        **changes,
    )


def status_line(sequence: int, status: str, red: int | None = None) -> bytes:
    """A line that gives ``number(sequence)`` another status."""
    given: dict[str, Any] = {"code": "", "number": number(sequence), "status": status}
    if red is not None:
        given["red_letter"] = {"code": "", "number": number(red)}
    return msgspec.json.encode(given)


async def blocks(lines: Iterable[bytes], lines_per_block: int = 500) -> AsyncIterator[bytes]:
    """The lines as the writer takes them."""
    kept: list[bytes] = []
    for each in lines:
        kept.append(each)
        if len(kept) == lines_per_block:
            yield b"\n".join(kept)
            kept = []
    if kept:
        yield b"\n".join(kept)


def config(database: Database, **changes: Any) -> Config:
    """A configuration for tests: quick probes, short bounds."""
    given: dict[str, Any] = {
        "primary_dsn": database.primary_dsn,
        "replica_dsns": database.replica_dsns,
        "probe_interval": 0.05,
        "query_timeout": 0.5,
        "connect_timeout": 1.0,
    }
    return Config.of(**{**given, **changes})


def named(rejections: Iterable[Rejection]) -> list[tuple[int, str, str]]:
    """Line, field and code of each error."""
    return [(each.line, error.field, error.code) for each in rejections for error in each.errors]


def counts(result: IngestResult) -> tuple[int, int, int]:
    """Accepted, unchanged and rejected lines."""
    return result.accepted, result.unchanged, result.rejected_count


class HeardChanges:
    """Stands in for memory: keeps what the change logs said."""

    def __init__(self) -> None:
        self.applied = 0
        self.keys: list[str] = []
        self.sizes: list[int] = []
        self.everything = 0

    async def apply(self, keys: Sequence[str], *, everything: bool) -> None:
        """Note the keys."""
        if keys or everything:
            self.applied += 1
        self.keys += keys
        self.sizes.append(len(keys))
        self.everything += everything


class Ledger:
    """Watched databases, a look-up over them, its metrics, and a writer beside it."""

    def __init__(self, database: Database, **changes: Any) -> None:
        self.database = database
        self.metrics = Metrics()
        self.config = config(database, **changes)
        self.changes = HeardChanges()
        self.fleet = Fleet(
            self.config.databases,
            self.config.change_log,
            self.metrics,
            Clocks(time.time, time.time),
            self.changes,
            lambda started: started - self.config.staleness.max_staleness,
        )
        self.lookup = Lookup(self.fleet, self.config.databases, self.metrics, time.time)
        self.writer = writer_of(self.config)

    async def write(self, *lines: bytes) -> None:
        """Bring lines into the ledger, and wait until the replicas have them."""
        await self.writer.ingest(blocks(lines))
        await wait_replayed(self.database.primary_dsn, self.database.replica_dsns)

    def rechecks(self) -> dict[str, int]:
        """How many keys were re-checked on the primary, by outcome."""
        family = next(iter(self.metrics.rechecks.collect()))
        return {
            sample.labels["outcome"]: int(sample.value) for sample in family.samples if sample.value
        }

    def serving(self) -> list[bool]:
        """Whether each database serves: the primary, then the replicas."""
        return [each.serving for each in self.fleet.status().databases]


@asynccontextmanager
async def started(database: Database, **changes: Any) -> AsyncIterator[Ledger]:
    """A look-up of which all databases serve, with dated states."""
    ledger = Ledger(database, **changes)
    await ledger.fleet.start()
    try:
        await until(lambda: all(ledger.serving()))
        await until(
            lambda: all(
                len(target.free) == target.channels._size for target in ledger.fleet.targets
            )
        )
        await until(
            lambda: all(each.lag_bytes is not None for each in ledger.fleet.status().databases)
        )
        yield ledger
    finally:
        await ledger.fleet.close()
        await ledger.writer.close()


async def until(condition: Callable[[], bool], within: float = 10.0) -> None:
    """Return when a condition holds that no event announces."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def replay_paused(database: Database) -> AsyncIterator[None]:
    """Have the replicas stand still."""
    async with (
        connected(database.replica_dsns[0]) as one,
        connected(database.replica_dsns[1]) as two,
    ):
        for replica in (one, two):
            await replica.execute("SELECT pg_wal_replay_pause()")
            state = "SELECT pg_get_wal_replay_pause_state()"
            async with asyncio.timeout(5):
                while await replica.fetchval(state) != "paused":
                    await asyncio.sleep(0.005)
        try:
            yield
        finally:
            for replica in (one, two):
                await replica.execute("SELECT pg_wal_replay_resume()")


def found(findings: dict[str, Finding]) -> set[str]:
    """The keys with a record."""
    return {key for key, finding in findings.items() if isinstance(finding, Record)}


def give_back(ledger: Ledger, taken: Iterable[Channel | None]) -> None:
    """Return channels of the primary."""
    for channel in taken:
        assert channel is not None
        ledger.fleet.primary.give_back(channel)
