"""Odd rows: what plain SQL may put into the tables is refused there, or ends nothing here."""

from __future__ import annotations

import asyncpg
import pytest
from structlog.testing import capture_logs

from tests.access.ground import Follower, add_key, add_tenant, only
from tests.support import Database, connected
from verifier.database.migrate import migrate


@pytest.mark.parametrize(
    "change",
    [
        "tight_rate = 5, tight_until = 'infinity'",
        "tight_rate = 5",
        "tight_rate = 0, tight_until = now()",
        "tight_rate = 'NaN', tight_until = now()",
        "rate = 1e308, burst = 1",
        "rate = 1e-308, burst = 1",
        "rate = 1, burst = 9000000000000000000",
        "expires_at = '20000-01-01 00:00:00+00'",
        "revoked_at = 'infinity'",
        "scopes = '{{verify},{explain}}'",
        "scopes = '{everything}'",
    ],
)
async def test_what_followers_cannot_read_is_refused(database: Database, change: str) -> None:
    """By the tables, whoever writes them."""
    await migrate(database.primary_dsn)
    async with connected(database.primary_dsn) as connection:
        await add_key(connection, await add_tenant(connection, "acme"), "erp")
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(f"UPDATE access_key SET {change}")


async def test_a_row_that_cannot_be_read_is_a_key_that_is_revoked(database: Database) -> None:
    """It is said, others are heard of all the same, and once it is mended it is good again."""
    await migrate(database.primary_dsn)
    async with connected(database.primary_dsn) as connection:
        tenant = await add_tenant(connection, "acme")
        await add_key(connection, tenant, "erp")
        follower = Follower(connection)
        await follower.look()
        assert only(follower.known)[1] > 0
        await connection.execute(
            "ALTER TABLE access_key DROP CONSTRAINT access_key_tight;"
            "UPDATE access_key SET tight_rate = 'NaN', tight_until = 'infinity'"
        )
        with capture_logs() as lines:
            await follower.look()
        assert only(follower.known)[1] == 0
        assert [line["event"] for line in lines] == ["row not understood"]
        await connection.execute("UPDATE access_key SET tight_rate = NULL, tight_until = NULL")
        await follower.look()
        assert only(follower.known)[1] > 0
