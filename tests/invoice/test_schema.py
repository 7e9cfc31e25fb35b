"""The migrated schema against the domain: what its enums and checks say of kinds and keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import asyncpg
import pytest

from tests.support import connected
from verifier.database.migrate import migrate
from verifier.invoice.identity import NO_NUMBER, is_canonical
from verifier.invoice.kinds import KINDS, STATUSES


@pytest.fixture
async def primary(blank: str) -> AsyncIterator[asyncpg.Connection]:
    """Connect to a database with the ledger's schema."""
    await migrate(blank)
    async with connected(blank) as connection:
        yield connection


@pytest.mark.parametrize(
    ("enum", "names"), [("invoice_kind", KINDS), ("invoice_status", STATUSES)], ids=str
)
async def test_enums(primary: asyncpg.Connection, enum: str, names: Iterable[str]) -> None:
    """The ledger can hold each kind and each status, and no other."""
    held = await primary.fetchval(f"SELECT enum_range(NULL::{enum})::text[]")
    assert sorted(held) == sorted(names)


def spellings() -> list[str]:
    """Keys of all lengths, with other signs in each place."""
    digits = "12345678901234567890123"
    keys = [digits[:length] for length in range(len(digits))]
    keys += [f"{digits[:code]}-{digits[:number]}" for code in range(15) for number in range(22)]
    whole = [digits[:20], f"{digits[:10]}-{digits[:8]}", f"{digits[:12]}-{digits[:8]}"]
    for key in whole:
        for at in range(len(key)):
            keys += [f"{key[:at]}{sign}{key[at + 1 :]}" for sign in "０٣a- \n"]
        keys += [f"{key}{sign}" for sign in "\n -"]
    return keys


async def test_keys(primary: asyncpg.Connection) -> None:
    """The ledger's check takes what ``is_canonical`` takes, and the number of zeros beside it."""
    check = await primary.fetchval(
        "SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint WHERE conname = 'invoice_key_form'"
    )
    keys = spellings()
    taken = await primary.fetch(
        f"SELECT key FROM unnest($1::text[]) AS t (key) WHERE {check}", keys
    )
    assert [row["key"] for row in taken] == [key for key in keys if is_canonical(key)]
    zeros = f"1100221130-{NO_NUMBER}"
    assert not is_canonical(zeros)
    assert await primary.fetchval(f"SELECT {check} FROM (SELECT $1::text) AS t (key)", zeros)
