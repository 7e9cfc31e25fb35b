"""Random ingests that overlap, and whether red letters and blue invoices agree afterwards."""

from __future__ import annotations

from random import Random
from typing import Any

import asyncpg

from tests.ledger.support import line, number, red_letter, status_line

STATUSES = ("normal", "voided", "red_flushed", "partially_red_flushed")


def invoices(random: Random, lines: int, pool: range) -> list[bytes]:
    """Lines about some invoices of a pool, in any order: blue ones, red letters, and lists.

    A list or a link may name an invoice that does not come, or one that says otherwise.
    """
    given = []
    for n in random.sample(pool, lines):
        other = random.choice(pool)
        kind = random.random()
        if kind < 0.3 and other != n:
            given.append(red_letter(n, other))
            continue
        changes: dict[str, Any] = {"status": random.choice(STATUSES)}
        if kind > 0.9:
            changes["red_letters"] = [{"number": number(other)}] if other != n else []
        given.append(line(n, **changes))
    return given


def states(random: Random, lines: int, pool: range) -> list[bytes]:
    """Lines that give some invoices of a pool another status, a few of them with a red letter."""
    given = []
    for n in random.sample(pool, lines):
        other = random.choice(pool)
        named = random.random() < 0.2 and other != n
        given.append(status_line(n, random.choice(STATUSES), other if named else None))
    return given


async def contradictions(connection: asyncpg.Connection) -> list[tuple[str, str]]:
    """Red letters and blue invoices of the ledger that do not agree, as links.py has it.

    Those that name an invoice which does not list them, and those that are listed by one and name
    another.
    """
    rows = await connection.fetch(
        """
        SELECT r.key, i.key
        FROM invoice AS r INNER JOIN invoice AS i ON i.key = r.red_letter_of
        WHERE NOT r.key = ANY(i.red_letters)
        UNION ALL
        SELECT r.key, i.key
        FROM invoice AS i INNER JOIN invoice AS r ON r.key = ANY(i.red_letters)
        WHERE r.red_letter_of <> i.key
        """
    )
    return [tuple(row) for row in rows]
