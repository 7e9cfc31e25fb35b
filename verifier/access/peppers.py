"""Which peppers a ledger's keys are under: a key made under another one would never be good.

Of each a mark is kept with the ledger, which tells nothing of it.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

import asyncpg

from verifier.errors import ConfigError

_KNOWN = "SELECT name FROM service_secret WHERE name ^@ 'pepper:'"
_NOTE = "INSERT INTO service_secret (name, value) VALUES ($1, '') ON CONFLICT DO NOTHING"


async def check(connection: asyncpg.Connection, peppers: Sequence[bytes]) -> None:
    """ConfigError when keys are kept, and under none of these. Raises what the database raises."""
    known = {row["name"] for row in await connection.fetch(_KNOWN)}
    if known and known.isdisjoint(map(_mark, peppers)):
        raise ConfigError(
            "VERIFIER_KEY_PEPPERS: the keys of this ledger are under another pepper; expected that "
            "of its workers"
        )


async def note(connection: asyncpg.Connection, peppers: Sequence[bytes]) -> None:
    """Check them, and note the first, under which new keys are."""
    await check(connection, peppers)
    await connection.execute(_NOTE, _mark(peppers[0]))


def _mark(pepper: bytes) -> str:
    return f"pepper:{hmac.digest(pepper, b'verifier pepper', 'sha256').hex()[:16]}"
