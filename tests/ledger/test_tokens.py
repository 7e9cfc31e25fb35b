"""Tests of reads that must see a position: a token's promise, over real servers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
import pytest

from tests.ledger.support import (
    Ledger,
    blocks,
    found,
    line,
    number,
    replay_paused,
    started,
    status_line,
    until,
)
from tests.support import Database, connected, wait_replayed
from verifier.errors import Unavailable
from verifier.ledger.ingest.writer import Writer
from verifier.ledger.lookup.targets import Target
from verifier.state import Position
from verifier.wire.records import Record

LAST_DAY = datetime(2026, 3, 2, tzinfo=UTC)


async def marked(it: Ledger) -> Position:
    """Set a watermark; its position."""
    return (await it.writer.set_watermark("1100", LAST_DAY)).position


@pytest.mark.parametrize("source", ["replica", "primary"])
async def test_an_absence_is_read_with_watermarks_that_the_token_covers(
    ledger: Database, source: str
) -> None:
    """Whoever answers has the watermark of the token, not that of its last probe (A2)."""
    # Probes are rare, so that the one that covers it has to be asked for.
    async with started(ledger, probe_interval=0.4) as it:
        if source == "primary":
            async with replay_paused(ledger):
                position = await marked(it)
                findings = await it.lookup.fetch_at([number(1)], position)
        else:
            position = await marked(it)
            await wait_replayed(ledger.primary_dsn, ledger.replica_dsns)
            findings = await it.lookup.fetch_at([number(1)], position)
        assert not found(findings)
        assert findings[number(1)].reading.watermarks == {"1100": LAST_DAY.timestamp()}


async def test_of_two_that_show_the_position_the_fresh_one_answers(ledger: Database) -> None:
    """A replica whose state is too old is passed over, though it has passed the position (B10)."""
    async with started(ledger) as it:
        fed = await it.writer.ingest(blocks([line(1)]))
        await wait_replayed(ledger.primary_dsn, ledger.replica_dsns)
        position = fed.position

        def shows(target: Target) -> bool:
            return target.reading is not None and target.reading.shows(position)

        await until(lambda: all(map(shows, it.fleet.targets)))
        stalled, _ = it.fleet.replicas
        watching = it.fleet._watches[1]._watching
        assert watching is not None
        watching.cancel()
        await asyncio.wait({watching})
        stalled.serving = True
        assert stalled.reading is not None
        stalled.reading = msgspec.structs.replace(stalled.reading, as_of=1.0)
        await it.lookup.fetch_at([number(1)], position)
        for _ in range(20):
            finding = (await it.lookup.fetch_at([number(1)], position))[number(1)]
            assert finding.reading.as_of > 1.0


async def test_a_position_that_nobody_reaches_is_unavailable(ledger: Database) -> None:
    """The wait for it is bounded, and ends with the reason."""
    async with started(ledger, query_timeout=0.2) as it:
        with pytest.raises(Unavailable, match="behind"):
            await it.lookup.fetch_at([number(1)], Position(1, 1 << 60))


async def test_a_later_timeline_is_waited_for_and_then_unavailable(ledger: Database) -> None:
    """Another worker may know of a failover before this one does."""
    async with started(ledger, query_timeout=0.2) as it:
        with pytest.raises(Unavailable, match="other_timeline"):
            await it.lookup.fetch_at([number(1)], Position(9, 1))


async def test_an_earlier_timeline_is_unavailable_at_once(ledger: Database) -> None:
    """Nobody can say whether the position is part of this one (A4)."""
    async with started(ledger) as it:
        it.fleet.timelines.noticed(it.fleet.dating.cluster, 5)
        with pytest.raises(Unavailable, match="other_timeline"):
            await it.lookup.fetch_at([number(1)], Position(1, 1))


async def test_who_asks_with_tokens_does_not_wait_for_each_other(ledger: Database) -> None:
    """One that waits for its position holds up nobody whose position is shown."""
    async with started(ledger, query_timeout=2.0) as it:
        fed = await it.writer.ingest(blocks([line(1)]))
        position = fed.position
        await it.lookup.fetch_at([number(1)], position)
        late = asyncio.create_task(it.lookup.fetch_at([number(1)], Position(1, 1 << 60)))
        await asyncio.sleep(0.05)
        for _ in range(20):
            async with asyncio.timeout(0.5):
                await it.lookup.fetch_at([number(1)], position)
        assert not late.done()
        late.cancel()


async def test_a_token_shows_its_own_change_under_lagging_replicas(ledger: Database) -> None:
    """Each acknowledged change is in the answer to a question that carries its token."""
    async with started(ledger) as it:
        await it.write(line(1))
        async with replay_paused(ledger):
            for status in ("voided", "normal", "red_flushed"):
                fed = await it.writer.set_status(blocks([status_line(1, status)]))
                findings = await it.lookup.fetch_at([number(1)], fed.position)
                record = findings[number(1)]
                assert isinstance(record, Record)
                assert f'"status":"{status}"'.encode() in record.members


async def test_no_state_from_before_a_commit_was_visible_passes_its_token(
    ledger: Database, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit is flushed a moment before it is visible: a probe in between must not show it."""
    flushed: list[int] = []
    execute = asyncpg.Connection.execute

    async def watched(self: asyncpg.Connection, query: str, *given: Any) -> str:
        said: str = await execute(self, query, *given)
        if query == "COMMIT":
            async with connected(ledger.primary_dsn) as other:
                # All that a probe can have found before the commit returned.
                flushed.append(
                    await other.fetchval(
                        "SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint"
                    )
                )
        return said

    monkeypatch.setattr(asyncpg.Connection, "execute", watched)
    fed = await writer.ingest(blocks([line(1)]))
    moved = await writer.set_watermark("1100", datetime(2026, 3, 1, tzinfo=UTC))
    assert [fed.position.lsn > flushed[0], moved.position.lsn > flushed[1]] == [True, True]
