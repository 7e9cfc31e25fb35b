"""Tests of the migration runner, against a real primary."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from tests.support import connected
from verifier.database.migrate import bundled, migrate
from verifier.embedded import Cluster
from verifier.errors import MigrationError

TWO = {
    "0001_first": "CREATE TABLE first (n int)",
    "0002_second": "CREATE TABLE second (n int)",
}


async def test_fresh_database_gets_everything_in_order(blank: str) -> None:
    """A fresh database gets all migrations that come with the program, in the order of names."""
    names = await migrate(blank)
    assert names == sorted(bundled())
    assert names[0] == "0001_invoice"
    async with connected(blank) as connection:
        assert await connection.fetchval("SELECT count(*) FROM invoice") == 0


async def test_second_run_does_nothing(blank: str) -> None:
    """A database that is up to date stays as it is."""
    await migrate(blank)
    assert await migrate(blank) == []


async def test_runners_at_the_same_time_share_the_work(blank: str) -> None:
    """Of several runners that start together, all succeed and each file is applied once."""
    applied = await asyncio.gather(*(migrate(blank) for _ in range(4)))
    assert sorted(name for names in applied for name in names) == sorted(bundled())


async def test_edited_file_is_named(blank: str) -> None:
    """A file that was edited after it was applied stops the runner, which names it."""
    await migrate(blank, TWO)
    edited = {**TWO, "0001_first": "CREATE TABLE first (n bigint)", "0003_third": "SELECT 1"}
    with pytest.raises(MigrationError, match="0001_first was edited"):
        await migrate(blank, edited)
    async with connected(blank) as connection:
        assert await connection.fetchval("SELECT count(*) FROM schema_migration") == 2


async def test_newer_schema_is_refused(blank: str) -> None:
    """A program does not touch a schema that a newer one has made."""
    await migrate(blank, {**bundled(), "9999_from_the_future": "SELECT 1"})
    with pytest.raises(MigrationError, match=r"newer than this program.*9999_from_the_future"):
        await migrate(blank)


async def test_number_before_an_applied_one_is_refused(blank: str) -> None:
    """A new file may not come before an applied one: other databases have run them in order."""
    await migrate(blank, {"0002_second": TWO["0002_second"]})
    with pytest.raises(MigrationError, match="0001_first comes before 0002_second"):
        await migrate(blank, TWO)


async def test_failing_file_leaves_nothing_of_itself(blank: str) -> None:
    """A file that fails is rolled back as a whole, named, and tried again by the next run."""
    broken = {**TWO, "0002_second": f"{TWO['0002_second']}; SELECT 1 / 0"}
    with pytest.raises(MigrationError, match="0002_second: division by zero"):
        await migrate(blank, broken)
    assert await migrate(blank, TWO) == ["0002_second"]


async def test_busy_table_is_not_waited_for(blank: str) -> None:
    """A migration that meets a lock gives up after its lock_timeout, lest it holds up others."""
    await migrate(blank, TWO)
    wider = {
        **TWO,
        "0003_wider": "SET LOCAL lock_timeout = '50ms'; ALTER TABLE first ADD COLUMN m int",
    }
    async with connected(blank) as connection, connection.transaction():
        await connection.execute("LOCK TABLE first IN ACCESS SHARE MODE")
        with pytest.raises(MigrationError, match=r"0003_wider: .*lock timeout"):
            await migrate(blank, wider)
    assert await migrate(blank, wider) == ["0003_wider"]


async def test_watermarks_that_no_clock_tells_are_mended(blank: str) -> None:
    """Where plain SQL has stored such watermarks, a ledger migrates and takes no more (A7)."""
    files = bundled()
    await migrate(blank, {name: files[name] for name in files if name < "0005"})
    async with connected(blank) as connection:
        await connection.execute(
            "INSERT INTO region_watermark VALUES ('1100', 'infinity'), ('1200', '-infinity'), "
            "('1300', '4713-01-01 BC'), ('1400', '20000-01-01Z'), ('1500', '2026-01-01Z')"
        )
        await migrate(blank)
        rows = await connection.fetch("SELECT * FROM region_watermark ORDER BY region")
        kept = {row["region"]: row["complete_until"] for row in rows}
        for region in ("1100", "1400"):
            assert abs(kept[region] - datetime.now(UTC)) < timedelta(minutes=1)
        for region in ("1200", "1300"):
            assert kept[region] == datetime(2000, 1, 1, tzinfo=UTC)
        assert kept["1500"] == datetime(2026, 1, 1, tzinfo=UTC)
        for moment in ("infinity", "1999-12-31Z", "10000-01-01Z"):
            with pytest.raises(asyncpg.CheckViolationError, match="region_watermark_range"):
                await connection.execute(f"UPDATE region_watermark SET complete_until = '{moment}'")


async def test_other_encoding_is_refused(cluster: Cluster) -> None:
    """A database that does not keep UTF-8 cannot hold the ledger."""
    async with connected(cluster.primary.dsn) as connection:
        await connection.execute(
            "CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"
        )
        try:
            with pytest.raises(MigrationError, match="SQL_ASCII; expected UTF8"):
                await migrate(cluster.primary.dsn_for("ascii"))
        finally:
            await connection.execute("DROP DATABASE ascii WITH (FORCE)")


async def test_replica_cannot_be_migrated(cluster: Cluster) -> None:
    """A replica refuses, and the error says why."""
    with pytest.raises(MigrationError, match="read-only"):
        await migrate(cluster.replicas[0].dsn)


async def test_unreachable_primary_is_an_error_without_password() -> None:
    """A primary that cannot be reached is an error that does not show the password."""
    with pytest.raises(MigrationError, match="cannot connect") as caught:
        await migrate("postgresql://someone:secret@127.0.0.1:1/ledger")
    assert "secret" not in str(caught.value)


async def test_crashed_runner_leaves_no_lock(blank: str) -> None:
    """A runner waits while another one is at work, and goes on when that one dies."""
    async with connected(blank) as holder:
        await holder.execute("SELECT pg_advisory_lock(8531350866138588530)")
        waiting = asyncio.create_task(migrate(blank))
        done, _ = await asyncio.wait({waiting}, timeout=0.2)
        assert not done
        holder.terminate()
    assert await waiting == sorted(bundled())
