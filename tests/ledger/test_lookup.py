"""Tests of look-ups over a real primary and real replicas."""

from __future__ import annotations

import asyncio
import time

import asyncpg
import msgspec
import pytest

from tests.invoice.samples import told_by
from tests.ledger.support import (
    HeardChanges,
    blocks,
    found,
    give_back,
    line,
    number,
    red_letter,
    replay_paused,
    started,
)
from tests.support import Database, connected, wait_replayed
from verifier.clocks import system_clocks
from verifier.config import ChangeLog, Config, Databases
from verifier.errors import ConfigError
from verifier.ledger.lookup.fleet import Fleet
from verifier.ledger.lookup.invoices import LOOK_UP
from verifier.metrics import Metrics
from verifier.wire.records import Record, build


async def test_record_is_what_the_line_said(ledger: Database) -> None:
    """A look-up on a replica gives the record that the line describes, links included."""
    async with started(ledger) as it:
        await it.write(line(1, seller_name='"名\\称"'), red_letter(2, 1))
        findings = await it.lookup.fetch_many([number(1), number(2)])
        common = ("100.00", "13.00", "113.00")
        seller, buyer = map(msgspec.json.encode, ('"名\\称"', "测试个人"))
        assert findings[number(1)] == build(
            number(1), "digital_ordinary", "2026-03-01", *common, "", "91110108MA01ABCD12", "",
            "normal", "", f"1,{number(2)}", seller, buyer, findings[number(1)].reading,
        )  # fmt: skip
        red = findings[number(2)]
        assert isinstance(red, Record)
        assert (red.amount, told_by(red)["status"]) == ("-100.00", "red_letter")
        assert number(1).encode() in red.members
        assert {finding.reading.source for finding in findings.values()} == {"replica"}


async def test_c17_more_red_letters_than_a_line_may_have(ledger: Database) -> None:
    """However many red letters plain SQL gave an invoice, a look-up takes the first and a count."""
    async with started(ledger) as it:
        await it.write(line(1))
        primary = await asyncpg.connect(ledger.primary_dsn)
        keys = [number(each) for each in range(100, 2_100)]
        await primary.execute("UPDATE invoice SET red_letters = $1", keys)
        await primary.close()
        await wait_replayed(ledger.primary_dsn, ledger.replica_dsns)
        record = (await it.lookup.fetch_many([number(1)]))[number(1)]
        assert isinstance(record, Record)
        shown = told_by(record)["invoice"]
        assert [each["number"] for each in shown["red_letters"]] == keys[:20]
        assert shown["red_letters_count"] == 2_000


@pytest.mark.parametrize(
    "name", ['"],["', "\\", "\\u0041", "\x01\x1f\t\n\r\b\f\x7f", "引号”\u2028", "😀", "</a>", ""]
)
async def test_any_name_comes_back(ledger: Database, name: str) -> None:
    """A name may hold whatever text may, and is quoted as it was fed."""
    async with started(ledger) as it:
        await it.write(line(1, seller_name=name, buyer_name=name), line(2))
        findings = await it.lookup.fetch_many([number(1), number(2)])
        record = findings[number(1)]
        assert isinstance(record, Record)
        shown = told_by(record)["invoice"]
        assert (shown["seller_name"], shown["buyer_name"]) == (name, name)
        assert found(findings) == {number(1), number(2)}


async def test_absent_is_confirmed_by_the_primary(ledger: Database) -> None:
    """What no server has is absent by the primary's word; each key asked has a finding."""
    async with started(ledger) as it:
        await it.write(line(1))
        findings = await it.lookup.fetch_many([number(1), number(2), number(3)])
        assert sorted(findings) == [number(1), number(2), number(3)]
        assert found(findings) == {number(1)}
        assert findings[number(1)].reading.source == "replica"
        assert findings[number(2)].reading.source == "primary"
        assert it.rechecks() == {"absent": 2}


async def test_replica_that_lags_is_backed_by_the_primary(ledger: Database) -> None:
    """An invoice that has not reached the replica is found on the primary, with its reading."""
    async with started(ledger) as it:
        await it.write(line(1))
        async with replay_paused(ledger):
            await it.writer.ingest(blocks([line(2)]))
            findings = await it.lookup.fetch_many([number(1), number(2)])
            assert found(findings) == {number(1), number(2)}
            assert findings[number(2)].reading.source == "primary"
            assert it.rechecks() == {"found": 1}


async def test_full_bound_lets_a_fresh_replica_stand(ledger: Database) -> None:
    """While the primary's channels are taken, the word of a replica within the bound stands."""
    async with started(ledger) as it:
        await it.write(line(1))
        taken = [it.fleet.primary.take() for _ in range(it.config.databases.primary_connections)]
        findings = await it.lookup.fetch_many([number(1), number(2)])
        assert found(findings) == {number(1)}
        assert findings[number(2)].reading.source == "replica"
        assert it.rechecks() == {"trusted": 1}
        give_back(it, taken)


async def test_full_bound_leaves_out_what_a_stale_replica_lacks(ledger: Database) -> None:
    """What a replica beyond the bound lacks is not in the result: it could not be checked."""
    async with started(ledger, max_staleness=0.4) as it:
        await it.write(line(1))
        async with replay_paused(ledger):
            await it.writer.ingest(blocks([line(2)]))
            await asyncio.sleep(0.6)
            taken = [
                it.fleet.primary.take() for _ in range(it.config.databases.primary_connections)
            ]
            # The primary would serve, but is busy; so have it out of the way for the choice.
            it.fleet.primary.serving = False
            findings = await it.lookup.fetch_many([number(1), number(2)])
            assert found(findings) == {number(1)}
            assert number(2) not in findings
            assert findings[number(1)].reading.as_of < time.time() - 0.4
            assert it.rechecks() == {"unchecked": 1}
            give_back(it, taken)


async def test_stale_replicas_give_way_to_the_primary(ledger: Database) -> None:
    """When no replica is within the bound, the primary reads; when one is again, it does."""
    async with started(ledger, max_staleness=0.4) as it:
        await it.write(line(1))
        async with replay_paused(ledger):
            await it.writer.ingest(blocks([line(1, status="voided")]))
            await asyncio.sleep(0.6)
            finding = (await it.lookup.fetch_many([number(1)]))[number(1)]
            assert finding.reading.source == "primary"
            assert isinstance(finding, Record)
            assert told_by(finding)["status"] == "voided"
        await wait_replayed(ledger.primary_dsn, ledger.replica_dsns)
        await asyncio.sleep(0.2)
        finding = (await it.lookup.fetch_many([number(1)]))[number(1)]
        assert finding.reading.source == "replica"
        assert isinstance(finding, Record)
        assert told_by(finding)["status"] == "voided"


async def test_without_replicas_the_primary_reads(ledger: Database) -> None:
    """A worker that has no replica asks the primary once, with all its look-up connections."""
    async with started(ledger, replica_dsns=()) as it:
        await it.write(line(1))
        assert it.fleet.slots == it.config.databases.read_connections
        findings = await it.lookup.fetch_many([number(1), number(2)])
        assert found(findings) == {number(1)}
        assert {finding.reading.source for finding in findings.values()} == {"primary"}
        assert it.rechecks() == {}


async def test_what_no_replica_has_reached_is_read_on_the_primary(ledger: Database) -> None:
    """A question that must see the newest state is answered by the primary alone."""
    async with started(ledger) as it:
        async with replay_paused(ledger):
            fed = await it.writer.ingest(blocks([line(1)]))
            findings = await it.lookup.fetch_at([number(1), number(2)], fed.position)
        assert found(findings) == {number(1)}
        assert sorted(findings) == [number(1), number(2)]
        assert {finding.reading.source for finding in findings.values()} == {"primary"}


async def test_callers_share_the_channels_evenly(ledger: Database) -> None:
    """More callers than channels wait for each other, and both replicas take part."""
    async with started(ledger) as it:
        await it.write(*(line(n) for n in range(50)))
        keys = [number(n) for n in range(50)]
        results = await asyncio.gather(*(it.lookup.fetch_many(keys) for _ in range(10)))
        assert all(found(findings) == set(keys) for findings in results)
        readings = {id(finding.reading) for findings in results for finding in findings.values()}
        assert len(readings) >= 2
        assert all(not target.busy for target in it.fleet.targets)
        free = Config().databases.primary_connections, *[Config().databases.read_connections] * 2
        assert tuple(len(target.free) for target in it.fleet.targets) == free


async def test_look_up_uses_the_index(ledger: Database) -> None:
    """The plan that every look-up uses finds rows by the index, however many keys there are."""
    async with connected(ledger.primary_dsn) as primary:
        await primary.execute("SET plan_cache_mode = force_generic_plan")
        await primary.execute(f"PREPARE look_up AS {LOOK_UP}")
        plan = await primary.fetch("EXPLAIN EXECUTE look_up('a,b')")
        text = "\n".join(row[0] for row in plan)
        assert "invoice_pkey" in text
        assert "Seq Scan" not in text


async def test_reader_cannot_write(ledger: Database) -> None:
    """A look-up's connection refuses to write, whatever SQL it is given."""
    async with started(ledger, replica_dsns=()) as it:
        channel = it.fleet.primary.free[0]
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await channel.connection.execute("DELETE FROM invoice")


def test_primary_must_be_configured() -> None:
    """Without a primary, nothing dates the replicas."""
    with pytest.raises(ConfigError, match="VERIFIER_PRIMARY_DSN"):
        Fleet(
            Databases(replica_dsns=("x",)),
            ChangeLog(),
            Metrics(),
            system_clocks(),
            HeardChanges(),
            float,
        )
