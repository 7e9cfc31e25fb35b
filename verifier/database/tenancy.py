"""Whose rows a transaction is about, for tables in which each row belongs to a tenant.

Row-level security (migrations, as 0009) lets a transaction see and write the rows of the tenant
that it has named, and none before it has named any: a query that forgets its condition shows a
tenant nothing of another's. It guards against our mistakes, not against who can run SQL; and not
where the service connects as a superuser, who is above it.
"""

from __future__ import annotations

import asyncpg

# Both, so that the last word counts. Until the transaction ends: the connection has others after.
_SET = (
    "SELECT set_config('verifier.tenant', $1, TRUE), set_config('verifier.every_tenant', $2, TRUE)"
)


async def as_tenant(connection: asyncpg.Connection, tenant: int) -> None:
    """The rest of the transaction is about the rows of this tenant alone.

    RuntimeError outside a transaction; else raises what the database raises.
    """
    await _set(connection, str(tenant), "")


async def as_every_tenant(connection: asyncpg.Connection) -> None:
    """The rest of the transaction is about all rows: for the service's own work, and operators'.

    Raises as ``as_tenant``.
    """
    await _set(connection, "", "on")


async def _set(connection: asyncpg.Connection, tenant: str, every: str) -> None:
    if not connection.is_in_transaction():
        # The setting would be gone with this very statement.
        raise RuntimeError("expected a transaction")
    await connection.execute(_SET, tenant, every)
