"""Row-level security: a transaction has the rows of the tenant that it has named, or none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import date
from typing import Literal, NamedTuple

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import Database, connected, run
from verifier.database.migrate import migrate
from verifier.database.tenancy import as_every_tenant, as_tenant

DAY = date(2026, 11, 24)

# Tables with a column ``tenant`` that are not guarded, and why.
UNGUARDED = {
    "access_key": "operators have all keys, and workers follow all of them; no tenant reads it",
}

# What is wrong with each other table, if anything.
_WRONG = """
SELECT c.relname
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant'
WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace AND NOT (
    c.relrowsecurity AND c.relforcerowsecurity
    AND EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = c.oid)
)
ORDER BY c.relname
"""


class Step(NamedTuple):
    """A transaction on one of two connections, as a tenant, or without a word."""

    connection: int
    tenant: int | None
    action: Literal["insert", "add", "take", "delete", "nothing"]
    # Whose row is inserted, or who is to have the rows that are taken.
    target: int
    commits: bool


_steps = st.builds(
    Step,
    st.integers(0, 1),
    st.sampled_from([None, 1, 1, 2, 2, 3]),
    st.sampled_from(["insert", "insert", "add", "take", "delete", "nothing"]),
    st.sampled_from([1, 2]),
    st.sampled_from([True, True, False]),
)

_SQL = {
    "insert": "INSERT INTO usage VALUES ($1, '2026-11-24', 'verify', 'match', 1) "
    "ON CONFLICT (tenant, day, endpoint, verdict) DO UPDATE SET questions = usage.questions + 1",
    "add": "UPDATE usage SET questions = questions + 1 WHERE $1::bigint > 0",
    "take": "UPDATE usage SET tenant = $1",
    "delete": "DELETE FROM usage WHERE $1::bigint > 0",
}


def expected(rows: dict[int, int], step: Step) -> dict[int, int] | None:
    """The rows after a step, questions by tenant; None when it has to be refused."""
    after = dict(rows)
    if step.action == "insert":
        if step.target != step.tenant:
            return None
        after[step.target] = after.get(step.target, 0) + 1
    elif step.tenant in rows:
        if step.action == "add":
            after[step.tenant] += 1
        elif step.action == "delete":
            del after[step.tenant]
        elif step.action == "take" and step.target != step.tenant:
            return None
    return after if step.commits else rows


async def play(connection: asyncpg.Connection, rows: dict[int, int], step: Step) -> dict[int, int]:
    """Do a step, compare what it sees with the rows there are, and return those after it."""
    after = expected(rows, step)
    transaction = connection.transaction()
    await transaction.start()
    try:
        if step.tenant is not None:
            await as_tenant(connection, step.tenant)
        seen = await connection.fetch("SELECT tenant, questions FROM usage")
        own = {tenant: n for tenant, n in rows.items() if tenant == step.tenant}
        assert dict(map(tuple, seen)) == own
        if step.action != "nothing":
            await connection.execute(_SQL[step.action], step.target)
    except asyncpg.InsufficientPrivilegeError:
        await transaction.rollback()
        assert after is None
        return rows
    assert after is not None
    await (transaction.commit() if step.commits else transaction.rollback())
    return after


@pytest.fixture(params=["granted", "owner"])
def usage(request: pytest.FixtureRequest, database: Database) -> Iterator[Database]:
    """Make two tenants, and a role that may write their usage, or owns the table."""
    dsn = database.primary_dsn

    async def make() -> None:
        await migrate(dsn)
        async with connected(dsn) as connection:
            await connection.execute(
                "INSERT INTO tenant (name) VALUES ('one'), ('two'); CREATE ROLE some_service; "
                "GRANT SELECT, INSERT, UPDATE, DELETE ON usage TO some_service"
            )
            if request.param == "owner":
                await connection.execute("ALTER TABLE usage OWNER TO some_service")

    async def drop() -> None:
        async with connected(dsn) as connection:
            await connection.execute("DROP OWNED BY some_service CASCADE; DROP ROLE some_service")

    run(make())
    yield database
    run(drop())


async def as_service(connection: asyncpg.Connection) -> None:
    """Be the role, as which row-level security holds."""
    await connection.execute("SET ROLE some_service")


def test_tenants_never_have_each_others_rows(usage: Database) -> None:
    """Whatever both do in turn over the same connections, each sees and changes its own alone.

    Nor does it give rows away; and who has named nobody has nothing, on a connection too that a
    tenant's transaction had before.
    """

    async def check_all(steps: list[Step]) -> None:
        async with connected(usage.primary_dsn) as a, connected(usage.primary_dsn) as b:
            await a.execute("TRUNCATE usage")
            await as_service(a)
            await as_service(b)
            rows: dict[int, int] = {}
            for step in steps:
                rows = await play((a, b)[step.connection], rows, step)

    with asyncio.Runner() as runner:

        @settings(max_examples=25, deadline=None)
        @given(st.lists(_steps, max_size=15))
        def check(steps: list[Step]) -> None:
            runner.run(check_all(steps))

        check()


async def test_the_service_has_all_rows_when_it_says_so(usage: Database) -> None:
    """For one transaction; and whoever names a tenant after that has that one's."""
    async with connected(usage.primary_dsn) as connection:
        await as_service(connection)
        async with connection.transaction():
            await as_every_tenant(connection)
            for tenant in (1, 2):
                await connection.execute(_SQL["insert"], tenant)
            assert await connection.fetchval("SELECT count(*) FROM usage") == 2
            await as_tenant(connection, 2)
            assert await connection.fetchval("SELECT array_agg(tenant) FROM usage") == [2]
        assert await connection.fetchval("SELECT count(*) FROM usage") == 0


async def test_a_tenant_is_named_inside_a_transaction(database: Database) -> None:
    """Outside it would hold for nothing, and pass for done."""
    async with connected(database.primary_dsn) as connection:
        with pytest.raises(RuntimeError, match="transaction"):
            await as_tenant(connection, 1)
        with pytest.raises(RuntimeError, match="transaction"):
            await as_every_tenant(connection)


async def test_each_table_of_tenants_is_guarded(database: Database) -> None:
    """A table with a column ``tenant`` forces row-level security, or is listed with a reason."""
    await migrate(database.primary_dsn)
    async with connected(database.primary_dsn) as connection:

        async def wrong() -> set[str]:
            return {row["relname"] for row in await connection.fetch(_WRONG)}

        assert await wrong() == UNGUARDED.keys()
        await connection.execute("ALTER TABLE usage NO FORCE ROW LEVEL SECURITY")
        assert await wrong() == {*UNGUARDED, "usage"}
