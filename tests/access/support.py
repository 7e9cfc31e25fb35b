"""What the tests of access share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg

from verifier.access.audit import Act, append, audit_secrets
from verifier.database.migrate import bundled

PEPPER = "a pepper that has 32 characters."
SECRET = audit_secrets([PEPPER.encode()])[0]


def act(number: int, actor: str = "actor") -> Act:
    """An act that differs from those of other numbers."""
    return Act(
        at=datetime(2026, 11, 3, tzinfo=UTC) + timedelta(minutes=number),
        actor=actor,
        action="key.create",
        subject=f"tenant {number}",
        address="10.0.0.1",
        detail={"number": number},
    )


async def filled(
    connection: asyncpg.Connection, count: int, actor: str = "actor", secret: bytes = SECRET
) -> None:
    """Append so many acts, each in a transaction of its own."""
    for number in range(1, count + 1):
        async with connection.transaction():
            await append(connection, secret, act(number, actor))


async def emptied(connection: asyncpg.Connection) -> None:
    """Have the table of the audit log anew, as its migration makes it."""
    (made,) = (sql for name, sql in bundled().items() if name.endswith("_audit"))
    await connection.execute(
        "DROP TABLE audit_entry; DROP FUNCTION audit_entry_append_only();" + made
    )


@asynccontextmanager
async def tampered(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """The audit log without all that protects it, which a superuser can take away."""
    async with connection.transaction():
        await connection.execute(
            """
            ALTER TABLE audit_entry DISABLE TRIGGER audit_entry_kept;
            ALTER TABLE audit_entry
            DROP CONSTRAINT IF EXISTS audit_entry_pkey,
            DROP CONSTRAINT IF EXISTS audit_entry_seq_positive,
            DROP CONSTRAINT IF EXISTS audit_entry_mac_size,
            ALTER subject DROP NOT NULL,
            ALTER mac DROP NOT NULL;
            """
        )
        yield
