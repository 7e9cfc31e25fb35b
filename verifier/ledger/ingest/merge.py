"""Merging chunks of lines into the invoices, inside one transaction of the primary.

Rows whose keys are new go by COPY straight into the table; the others go by COPY into a temporary
table and from there by one UPDATE, which leaves alone what is the same. Both cost the same however
large the ledger is. Locks are taken in one order (turns.py); links between invoices are
completed in the end (links.py).

Statements here and in links.py look invoices up by index, whatever the statistics say: those of a
table that was analysed in the middle of its first import say that it is empty, and that to read
all of it for each line costs nothing. Hence, besides the settings of database/connections.py,
``= ANY(ARRAY[x])`` for ``= x``, sorting by an expression, ``coalesce`` where a partial index would
do, and ``OFFSET 0``: they leave the planner no use for an index but to look up a row.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

import asyncpg

from verifier.ledger.ingest import links
from verifier.ledger.ingest.chunks import InvoiceChunk, StatusChunk
from verifier.ledger.ingest.links import Links, Pair
from verifier.ledger.ingest.turns import Turn
from verifier.wire.lines import COLUMNS, Row

# How much of a COPY is handed over at a time; what the server has not taken is not buffered.
_PIECE = 1 << 18

# Of a connection: emptied by every COMMIT and ROLLBACK.
TEMPORARY_TABLES = f"""
CREATE TEMPORARY TABLE ingest_line (
    LIKE invoice, listed text [] COLLATE "C"
) ON COMMIT DELETE ROWS;
ALTER TABLE ingest_line ALTER COLUMN red_letters DROP NOT NULL;
{links.TEMPORARY_TABLE}
"""

_KNOWN = "SELECT key, red_letter_of FROM invoice WHERE key = ANY($1::text[])"

# Turns the list that a line gives into the one that the ledger will hold: without red letters that
# name another invoice, and with all that name this one.
_AS_LISTED = """
UPDATE ingest_line AS s
SET red_letters = array(
    SELECT t.red
    FROM unnest(s.listed) AS t (red)
    WHERE NOT EXISTS (
        SELECT FROM invoice AS r
        WHERE r.key = ANY(ARRAY[t.red]) AND coalesce(r.red_letter_of, s.key) <> s.key
    )
    UNION
    SELECT r.key || '' FROM invoice AS r WHERE r.red_letter_of = s.key
    ORDER BY 1
)
WHERE s.listed IS NOT NULL
"""

_VALUES = ", ".join(column for column in COLUMNS if column != "key")
_NEW = ", ".join(f"s.{column}" for column in COLUMNS if column != "key")
_OLD = ", ".join(f"i.{column}" for column in COLUMNS if column != "key")
_DIFFERENT = f"""
({_OLD}, i.red_letters) IS DISTINCT FROM ({_NEW}, coalesce(s.red_letters, i.red_letters))
"""

# All rows that the chunk will change, in the order of keys: two transactions that took them in
# different orders would wait for each other. What is the same is not locked: a lock is a write.
_TAKE = f"""
SELECT key, red_letter_of
FROM invoice
WHERE key = ANY(array(
    SELECT i.key
    FROM ingest_line AS s INNER JOIN invoice AS i ON i.key = ANY(ARRAY[s.key])
    WHERE {_DIFFERENT}
    UNION ALL
    {links.CONCERNED}
))
ORDER BY key || '' FOR NO KEY UPDATE
"""  # noqa: S608 - made of constants

_UPDATE = f"""
UPDATE invoice AS i
SET ({_VALUES}, red_letters) = ROW({_NEW}, coalesce(s.red_letters, i.red_letters))
FROM ingest_line AS s
WHERE i.key = ANY(ARRAY[s.key]) AND {_DIFFERENT}
"""  # noqa: S608 - made of constants

# In the order of keys, as above.
_TAKE_KNOWN = """
SELECT key FROM invoice WHERE key = ANY($1::text[]) ORDER BY key || '' FOR NO KEY UPDATE
"""

_UPDATE_STATUS = """
UPDATE invoice AS i
SET
    status = s.status::invoice_status,
    red_letters = array(SELECT unnest(i.red_letters) UNION SELECT unnest(s.reds) ORDER BY 1)
FROM (
    SELECT
        t.key,
        t.status,
        array(
            SELECT u.red
            FROM unnest(t.reds::text[]) AS u (red)
            WHERE NOT EXISTS (
                SELECT FROM invoice AS r
                WHERE r.key = ANY(ARRAY[u.red]) AND coalesce(r.red_letter_of, t.key) <> t.key
            )
        ) AS reds
    FROM unnest($1::text[], $2::text[], $3::text[]) AS t (key, status, reds)
) AS s
WHERE
    i.key = ANY(ARRAY[s.key])
    AND (i.status <> s.status::invoice_status OR NOT i.red_letters @> s.reds)
"""


class Merge:
    """One transaction's merges. Counts lines as IngestResult does.

    ``unknown`` has the numbers of the lines whose invoices the ledger does not know.
    """

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._links = Links(connection)
        self._staged = False
        self._touched = False
        self.turn = Turn(connection)
        self.accepted = 0
        self.unchanged = 0
        self.unknown: list[int] = []

    async def invoices(self, chunk: InvoiceChunk) -> None:
        """Bring a chunk of invoices into the ledger."""
        rows = chunk.rows
        if not rows:
            return
        keys = sorted(rows)
        await self.turn.look()
        known = {row[0]: row[1] for row in await self._connection.fetch(_KNOWN, keys)}
        new = [rows[key] for key in keys if key not in known]
        if new:
            await self.turn.bring()
            await self._copy("invoice", "red_letters", new, "{}")
        await self.turn.brought()
        changed = await self._change(rows, known)
        self._touched = self._touched or bool(new or changed)
        self.accepted += chunk.accepted + len(new) + changed
        self.unchanged += chunk.unchanged + len(known) - changed

    async def statuses(self, chunk: StatusChunk) -> None:
        """Give the invoices of a chunk another status."""
        keys = sorted(chunk.changes)
        known = {row[0] for row in await self._connection.fetch(_TAKE_KNOWN, keys)}
        changes = [(key, *chunk.changes[key]) for key in keys if key in known]
        changed = 0
        if changes:
            tag = await self._connection.execute(
                _UPDATE_STATUS,
                [key for key, _, _ in changes],
                [status for _, status, _ in changes],
                [f"{{{','.join(sorted(reds))}}}" for _, _, reds in changes],
            )
            changed = _count(tag)
        await self._links.remember(
            [Pair(red, key, "listed") for key, _, reds in changes for red in sorted(reds)]
        )
        overtaken = sum(len(chunk.lines[key]) - 1 for key in known)
        self.accepted += changed + overtaken
        self.unchanged += len(known) - changed
        self.unknown += [line for key in chunk.changes.keys() - known for line in chunk.lines[key]]

    async def link(self) -> None:
        """Complete the lists of red letters: the last step before COMMIT."""
        await self._links.complete(self.turn, touched=self._touched)

    async def _change(self, rows: Mapping[str, Row], known: Mapping[str, str | None]) -> int:
        """Update rows that are there; how many were not the same already."""
        pairs = links.pairs_of(rows, known)
        await self._stage([rows[key] for key in sorted(known)])
        await self._links.remember(pairs)
        # A long transaction locks in no order as a whole, and waits for whom it meets.
        concerned = [] if self.turn.long else pairs
        if not known and not concerned:
            return 0
        taken = await self._connection.fetch(_TAKE, *links.columns(concerned))
        own = {row[0]: row[1] for row in taken if row[0] in known}
        if not own:
            return 0
        # Until they were locked, others may have had red letters name another invoice.
        turned = {key: blue for key, blue in own.items() if blue != known[key]}
        await self._links.remember(links.left(rows, turned))
        changed = [rows[key] for key in own]
        if len(own) < len(known):
            # Only what was locked is updated: to lock what has changed since would be out of order.
            await self._stage(changed)
        elif _give_lists(changed):
            await self._connection.execute(_AS_LISTED)
        return _count(await self._connection.execute(_UPDATE))

    async def _stage(self, rows: Sequence[Row]) -> None:
        """Have these rows, and no others, in the temporary table."""
        if self._staged:
            await self._connection.execute("TRUNCATE ingest_line")
        self._staged = bool(rows)
        if rows:
            await self._copy("ingest_line", "listed", rows, "\\N")
        if _give_lists(rows):
            await self._connection.execute(_AS_LISTED)

    async def _copy(self, table: str, lists: str, rows: Sequence[Row], unmentioned: str) -> None:
        text = "".join([f"{row.text}\t{row.red_letters or unmentioned}\n" for row in rows])
        await self._connection.copy_to_table(
            table, source=_pieces(text.encode()), columns=(*COLUMNS, lists)
        )


def _give_lists(rows: Sequence[Row]) -> bool:
    return any(row.red_letters for row in rows)


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), _PIECE):
        yield data[start : start + _PIECE]


def _count(tag: str) -> int:
    """The number of rows in a command tag such as ``UPDATE 5``."""
    return int(tag.rpartition(" ")[2])
