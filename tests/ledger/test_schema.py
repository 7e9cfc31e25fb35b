"""Tests of the schema: the change log that nothing bypasses, and what the checks keep out."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.ledger.support import number
from tests.support import Database, connected

COLUMNS = (
    "key, kind, issue_date, amount, tax, total, check_code, status, seller_tax_id, seller_name, "
    "buyer_tax_id, buyer_name"
)
VALUES = "'digital_ordinary', '2026-03-01', 100, 13, 113, '', 'normal', '', 'a', '', 'b'"


@pytest.fixture
async def primary(ledger: Database) -> AsyncIterator[asyncpg.Connection]:
    """Connect to the primary."""
    async with connected(ledger.primary_dsn) as connection:
        yield connection


async def insert(connection: asyncpg.Connection, first: int, count: int = 1) -> None:
    """Insert rows by plain SQL."""
    await connection.execute(
        f"INSERT INTO invoice ({COLUMNS}) SELECT '2611' || lpad(n::text, 16, '0'), {VALUES} "
        f"FROM generate_series({first}, {first + count - 1}) AS n"
    )


async def changes(connection: asyncpg.Connection) -> list[list[str] | None]:
    """The change log in order: sorted keys, or None for everything; and forget it."""
    rows = await connection.fetch("SELECT everything, keys FROM ledger_change ORDER BY seq")
    await connection.execute("DELETE FROM ledger_change")
    return [None if row["everything"] else sorted(row["keys"]) for row in rows]


async def test_insert_update_delete_and_truncate_are_fed(primary: asyncpg.Connection) -> None:
    """Plain SQL of every kind appends the keys that it changed, TRUNCATE a row for everything."""
    await insert(primary, 1, 3)
    await primary.execute("UPDATE invoice SET status = 'voided' WHERE key = $1", number(2))
    await primary.execute("DELETE FROM invoice WHERE key = $1", number(3))
    await primary.execute("TRUNCATE invoice")
    assert await changes(primary) == [
        [number(1), number(2), number(3)],
        [number(2)],
        [number(3)],
        None,
    ]


async def test_update_without_a_difference_is_not_fed(primary: asyncpg.Connection) -> None:
    """An UPDATE appends only the rows that it made different, and nothing when there are none."""
    await insert(primary, 1, 3)
    await primary.execute("UPDATE invoice SET status = 'voided' WHERE key = $1", number(2))
    await changes(primary)
    await primary.execute("UPDATE invoice SET status = 'voided', amount = 100")
    assert await changes(primary) == [[number(1), number(3)]]
    await primary.execute("UPDATE invoice SET status = status")
    await primary.execute("DELETE FROM invoice WHERE key = 'x'")
    assert await changes(primary) == []


async def test_upsert_is_fed_once_for_each_row(primary: asyncpg.Connection) -> None:
    """INSERT ON CONFLICT DO UPDATE appends new and changed keys, each in the row of its kind."""
    await insert(primary, 1)
    await changes(primary)
    await primary.execute(
        f"INSERT INTO invoice ({COLUMNS}) VALUES ('{number(1)}', {VALUES}), "
        f"('{number(2)}', {VALUES}) ON CONFLICT (key) DO UPDATE SET status = 'voided'"
    )
    assert sorted(await changes(primary), key=str) == [[number(1)], [number(2)]]


async def test_changed_key_is_fed_with_the_old_one(primary: asyncpg.Connection) -> None:
    """When a key changes, both the old and the new one are in the change log."""
    await insert(primary, 1)
    await changes(primary)
    await primary.execute("UPDATE invoice SET key = $1", number(9))
    assert await changes(primary) == [[number(1), number(9)]]


async def test_many_rows_are_fed_in_chunks(primary: asyncpg.Connection) -> None:
    """2,500 rows of one statement append three rows of at most 1,000 keys, COPY likewise."""
    await insert(primary, 1, 2500)
    fed = await changes(primary)
    assert sorted(len(keys or ()) for keys in fed) == [500, 1000, 1000]
    assert sorted(key for keys in fed for key in keys or ()) == [number(n) for n in range(1, 2501)]
    await primary.execute("UPDATE invoice SET status = 'voided'")
    assert sorted(len(keys or ()) for keys in await changes(primary)) == [500, 1000, 1000]
    await primary.execute("CREATE TEMPORARY TABLE kept AS TABLE invoice")
    await primary.execute("DELETE FROM invoice")
    assert len(await changes(primary)) == 3
    rows = await primary.fetch("SELECT * FROM kept LIMIT 1001")
    records = [tuple(row) for row in rows]
    await primary.copy_records_to_table("invoice", records=records, columns=list(rows[0].keys()))
    assert sorted(len(keys or ()) for keys in await changes(primary)) == [1, 1000]


async def test_the_change_log_belongs_to_the_transaction(primary: asyncpg.Connection) -> None:
    """Its rows carry their transaction's id, and vanish when it is rolled back."""
    async with primary.transaction():
        await insert(primary, 1)
        xid = await primary.fetchval("SELECT pg_current_xact_id()::text")
    assert await primary.fetchval("SELECT xid::text FROM ledger_change") == xid
    await changes(primary)
    transaction = primary.transaction()
    await transaction.start()
    await insert(primary, 2)
    await transaction.rollback()
    assert await changes(primary) == []


async def test_replication_role_does_not_bypass_the_change_log(primary: asyncpg.Connection) -> None:
    """The triggers fire also in a session that says it replicates."""
    await primary.execute("SET session_replication_role = replica")
    await insert(primary, 1)
    assert await changes(primary) == [[number(1)]]


async def test_role_without_rights_on_the_change_log_adds_to_it(
    primary: asyncpg.Connection,
) -> None:
    """A role that may only change invoices adds to the change log, which it cannot write itself."""
    await primary.execute("CREATE ROLE clerk; GRANT INSERT, UPDATE ON invoice TO clerk")
    try:
        await primary.execute("SET ROLE clerk")
        await insert(primary, 1)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await primary.execute("DELETE FROM ledger_change")
        await primary.execute("RESET ROLE")
        assert await changes(primary) == [[number(1)]]
    finally:
        await primary.execute("RESET ROLE; DROP OWNED BY clerk; DROP ROLE clerk")


@pytest.mark.parametrize(
    "change",
    [
        "key = '2611'",
        "key = '26110000000000000\"01'",
        "key = '011002300111-1234567'",
        "check_code = '12 4'",
        "check_code = '12\"4'",
        "seller_tax_id = '91110108ma01'",
        "buyer_tax_id = 'A\\'",
        "red_letter_of = ''",
        "red_letter_of = '2611\"'",
        'red_letters = \'{"2611\\""}\'',
        "red_letters = '{NULL}'",
        "red_letters = '{\"\"}'",
        "amount = 100000000000",
        "status = 'lost'",
    ],
)
async def test_checks_keep_out_what_an_answer_could_not_quote(
    primary: asyncpg.Connection, change: str
) -> None:
    """What is not plain enough to stand in JSON without escapes does not get into the ledger."""
    await insert(primary, 1)
    with pytest.raises(asyncpg.PostgresError):
        await primary.execute(f"UPDATE invoice SET {change}")


async def test_new_status_touches_no_index(primary: asyncpg.Connection) -> None:
    """A new status or red letter is written beside the old row (HOT), without touching an index."""
    await insert(primary, 1, 500)
    async with primary.transaction():
        await primary.execute(
            "UPDATE invoice SET status = 'red_flushed', red_letters = $1 "
            "WHERE key = ANY($2::text[])",
            [number(999)],
            [number(n) for n in range(1, 500, 25)],
        )
        hot = "SELECT pg_stat_get_xact_tuples_hot_updated('invoice'::regclass)"
        assert await primary.fetchval(hot) == 20
