"""Links between red letters and blue invoices, kept in both directions by each transaction.

A red letter names its blue invoice (``red_letter_of``); a blue invoice lists its red letters, those
that name it and those that a line has listed: with the invoice, or with its new status. What a red
letter says itself counts for more than what is listed. So after any number of transactions,
whatever ran at the same time, for all invoices of the ledger:

- a red letter that names an invoice is in that invoice's list;
- a red letter in an invoice's list names that invoice or none. It leaves the list when it comes to
  name another one, and when it names this one no more.

A listed red letter that names none, or that the ledger does not have (yet), stays in the list until
a later line gives the invoice another list. ``listed_red_letter`` remembers it, so that it leaves
the list when it comes and names another one.

The lists are completed at the end of the transaction, under a lock (turns.py). When one transaction
brings the red letter and another the blue invoice, the second to take the lock sees what the first
has committed, and completes the link.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

import asyncpg

from verifier.ledger.ingest.turns import Turn
from verifier.wire.lines import Row


class Pair(NamedTuple):
    """A red letter and a blue invoice that it names, has left, or is listed by, as a line says."""

    red: str
    blue: str
    how: Literal["names", "left", "listed"]


# Of a connection: emptied by every COMMIT and ROLLBACK.
TEMPORARY_TABLE = """
CREATE TEMPORARY TABLE ingest_link (
    red text COLLATE "C", blue text COLLATE "C", how text
) ON COMMIT DELETE ROWS;
"""

_REMEMBER = """
INSERT INTO ingest_link (red, blue, how)
SELECT red, blue, how FROM unnest($1::text[], $2::text[], $3::text[]) AS t (red, blue, how)
"""

# The blue invoices whose lists these links will change, as far as can be seen now; they are locked
# in the order of keys. Those that this transaction brought are left out: nobody else sees them yet.
# $1 to $3 are as above.
CONCERNED = """
SELECT b.key
FROM unnest($1::text[], $2::text[], $3::text[]) AS l (red, blue, how)
INNER JOIN invoice AS b ON b.key = ANY(ARRAY[l.blue])
WHERE
    l.how <> 'listed'
    AND (b.red_letters @> ARRAY[l.red]) = (l.how = 'left')
    AND b.xmin <> pg_current_xact_id()::xid
UNION ALL
SELECT b.key
FROM unnest($1::text[], $2::text[], $3::text[]) AS l (red, blue, how)
INNER JOIN listed_red_letter AS o ON o.red = ANY(ARRAY[l.red]) AND o.blue <> l.blue
INNER JOIN invoice AS b ON b.key = ANY(ARRAY[o.blue])
WHERE l.how = 'names' AND b.red_letters @> ARRAY[l.red]
"""

# ``so`` says whether the red letter names the invoice; it is NULL when the red letter named it
# before and names none now. The last part of ``said`` finds red letters that name an invoice which
# this transaction brought or changed: its own rows of the change log say which those are.
_COMPLETE = """
WITH pair AS (
    SELECT red, blue, how = 'left' AS has_left FROM ingest_link
    UNION
    SELECT o.red, o.blue, FALSE
    FROM ingest_link AS l INNER JOIN listed_red_letter AS o ON o.red = ANY(ARRAY[l.red])
),

said AS (
    SELECT p.blue, p.red, r.red_letter_of = p.blue AS so
    FROM pair AS p INNER JOIN invoice AS r ON r.key = ANY(ARRAY[p.red])
    WHERE p.has_left OR r.red_letter_of IS NOT NULL
    UNION
    SELECT r.red_letter_of, r.key, TRUE
    FROM ledger_change AS c
    CROSS JOIN LATERAL (
        SELECT i.key, i.red_letter_of FROM invoice AS i WHERE i.red_letter_of = ANY(c.keys)
        OFFSET 0
    ) AS r
    WHERE c.xid = pg_current_xact_id()
)

UPDATE invoice AS i
SET red_letters = array(
    (SELECT unnest(i.red_letters) UNION SELECT unnest(l.come))
    EXCEPT SELECT unnest(l.gone) ORDER BY 1
)
FROM (
    SELECT
        blue,
        coalesce(array_agg(red) FILTER (WHERE so), '{}') AS come,
        coalesce(array_agg(red) FILTER (WHERE so IS NOT TRUE), '{}') AS gone
    FROM said GROUP BY blue
) AS l
WHERE i.key = ANY(ARRAY[l.blue]) AND (NOT i.red_letters @> l.come OR i.red_letters && l.gone)
"""

_REMEMBER_LISTED = """
INSERT INTO listed_red_letter (red, blue)
SELECT l.red, l.blue
FROM ingest_link AS l LEFT JOIN invoice AS r ON r.key = ANY(ARRAY[l.red])
WHERE l.how = 'listed' AND r.red_letter_of IS NULL
ON CONFLICT DO NOTHING
"""

_FORGET_LISTED = """
DELETE FROM listed_red_letter AS o
USING ingest_link AS l INNER JOIN invoice AS r ON r.key = ANY(ARRAY[l.red])
WHERE o.red = ANY(ARRAY[l.red]) AND coalesce(r.red_letter_of, '') <> ''
"""


class Links:
    """The links that one transaction may have touched."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._how: set[str] = set()

    async def remember(self, pairs: Collection[Pair]) -> None:
        """Have these links looked at when all is completed."""
        if pairs:
            self._how.update(pair.how for pair in pairs)
            await self._connection.execute(_REMEMBER, *columns(pairs))

    async def complete(self, turn: Turn, *, touched: bool) -> None:
        """Bring the lists up to date: the last step before COMMIT.

        ``touched`` says that the transaction brought or changed invoices.
        """
        if not touched and not self._how:
            return
        await turn.link(alone=bool(self._how))
        await self._connection.execute(_COMPLETE)
        if "listed" in self._how:
            await self._connection.execute(_REMEMBER_LISTED)
        if "names" in self._how:
            await self._connection.execute(_FORGET_LISTED)


def columns(pairs: Collection[Pair]) -> list[list[str]]:
    """The three arguments that statements about pairs have."""
    return [[pair[column] for pair in pairs] for column in range(3)]


def pairs_of(rows: Mapping[str, Row], known: Mapping[str, str | None]) -> list[Pair]:
    """What a chunk says about links; ``known`` has what those in the ledger named until now."""
    pairs = left(rows, known)
    for row in [row for row in rows.values() if row.red_letter_of or row.red_letters]:
        if row.red_letter_of:
            pairs.append(Pair(row.key, row.red_letter_of, "names"))
        # The literal of an array of keys, which need no quotes.
        listed = row.red_letters.strip("{}")
        if listed:
            pairs += [Pair(red, row.key, "listed") for red in listed.split(",")]
    return pairs


def left(rows: Mapping[str, Row], known: Mapping[str, str | None]) -> list[Pair]:
    """The links that a chunk ends."""
    return [
        Pair(key, blue, "left")
        for key, blue in known.items()
        if blue is not None and blue != rows[key].red_letter_of
    ]
