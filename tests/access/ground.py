"""What tests of the stored keys share: made-up rows, and what a follower knows of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, cast

import asyncpg

from tests.support import no_shares
from verifier.access.following import Following
from verifier.access.keyring import Keyring
from verifier.clocks import system_clocks

# Of a key, what a follower has to know: scopes, end (0 for revoked), tenant.
Known = dict[str, tuple[frozenset[str], float, str]]


async def add_tenant(connection: asyncpg.Connection, name: str) -> int:
    """A new tenant; its id."""
    return int(
        await connection.fetchval("INSERT INTO tenant (name) VALUES ($1) RETURNING id", name)
    )


async def add_key(connection: asyncpg.Connection, tenant: int, name: str) -> int:
    """A new key that nobody has; its id."""
    return int(
        await connection.fetchval(
            "INSERT INTO access_key (tenant, name, mode, digest, scopes) "
            "VALUES ($1, $2, 'live', $3, '{verify}') RETURNING id",
            tenant,
            name,
            hashlib.sha256(name.encode()).digest(),
        )
    )


async def stored(connection: asyncpg.Connection) -> Known:
    """What the tables say."""
    rows = await connection.fetch(
        """
        SELECT
            encode(k.digest, 'hex') AS digest, k.scopes, t.name,
            CASE WHEN k.revoked_at IS NOT NULL THEN 0
            ELSE coalesce(extract(epoch FROM k.expires_at), 'infinity')::double precision
            END AS until
        FROM access_key AS k JOIN tenant AS t ON t.id = k.tenant
        """
    )
    return {
        row["digest"]: (frozenset(row["scopes"]), float(row["until"]), row["name"]) for row in rows
    }


class Spy:
    """A connection that notes which rows were read."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        # By look, the transactions whose rows came.
        self.looks: list[list[int]] = []

    async def fetch(self, sql: str, *arguments: object) -> Sequence[asyncpg.Record]:
        """The rows."""
        rows = await self._connection.fetch(sql, *arguments)
        self.looks.append([row["changed"] for row in rows if row["topic"] is not None])
        return rows


class Follower:
    """Follows one database into a keyring of its own."""

    def __init__(self, connection: asyncpg.Connection, keyring: Keyring | None = None) -> None:
        self.keyring = keyring or Keyring((), system_clocks(), no_shares(), bound=2.0, kept=60.0)
        self.spy = Spy(connection)
        self.following = Following(self.keyring, 5.0)
        self._anew = True

    async def look(self, *, anew: bool = False, timeline: int = 1) -> list[int]:
        """Look, and return the transactions whose rows were read."""
        anew, self._anew = anew or self._anew, False
        connection = cast("asyncpg.Connection", self.spy)
        await self.following.follow(connection, anew=anew, timeline=timeline, as_of=1.0)
        return self.spy.looks[-1]

    @property
    def known(self) -> Known:
        """What the keyring says."""
        return {
            digest.hex(): (frozenset[str](caller.scopes), caller.until, caller.tenant.name)
            for digest, caller in self.keyring._callers.items()
        }


def only(known: Known) -> tuple[Any, ...]:
    """What is known of the only key."""
    (one,) = known.values()
    return one
