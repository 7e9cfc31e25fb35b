"""Merging rows of the feed into the invoices, inside one transaction of the primary.

Rows whose keys are new go by COPY straight into the table; the others go by COPY into a temporary
table and from there by one UPDATE, which leaves alone what is the same. Both cost the same however
large the ledger is.

Red letters: a red letter names its blue invoice (``red_letter_of``), and the blue one lists its
red letters, whichever came first. The lists are completed at the end of the transaction. A lock
sees to it that of two transactions that bring the two halves, the later one sees the other's half:
those that bring red letters hold it alone, the others together.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import asyncpg

from verifier.invoice.line import COLUMNS, Row
from verifier.ledger.feed import Chunk, StatusChunk

# Chosen once for all versions of this program ("red link" in ASCII).
_LINK_LOCK = 0x726564206C696E6B

# How much of a COPY is handed over at a time; what the server has not taken is not buffered.
_PIECE = 1 << 18

# Of a connection: emptied by every COMMIT and ROLLBACK.
TEMPORARY_TABLES = """
CREATE TEMPORARY TABLE feed_line (LIKE invoice) ON COMMIT DELETE ROWS;
ALTER TABLE feed_line ALTER COLUMN red_letters DROP NOT NULL;
CREATE TEMPORARY TABLE feed_link (
    red text COLLATE "C", blue text COLLATE "C", ended boolean
) ON COMMIT DELETE ROWS;
"""

_KNOWN = "SELECT key, red_letter_of FROM invoice WHERE key = ANY($1::text[])"

_ADD_DERIVED = """
UPDATE feed_line AS s
SET red_letters = array(
    SELECT unnest(s.red_letters)
    UNION
    SELECT r.key FROM invoice AS r WHERE r.red_letter_of = s.key
    ORDER BY 1
)
WHERE s.red_letters IS NOT NULL
"""

_VALUES = ", ".join(column for column in COLUMNS if column != "key")
_NEW = ", ".join(f"s.{column}" for column in COLUMNS if column != "key")
_OLD = ", ".join(f"i.{column}" for column in COLUMNS if column != "key")
_UPDATE = f"""
UPDATE invoice AS i
SET ({_VALUES}, red_letters) = ROW({_NEW}, coalesce(s.red_letters, i.red_letters))
FROM feed_line AS s
WHERE
    i.key = s.key
    AND ({_OLD}, i.red_letters)
    IS DISTINCT FROM ({_NEW}, coalesce(s.red_letters, i.red_letters))
"""  # noqa: S608 - made of constants

_REMEMBER_LINKS = """
INSERT INTO feed_link (red, blue, ended)
SELECT red, blue, ended FROM unnest($1::text[], $2::text[], $3::boolean[]) AS t (red, blue, ended)
"""

# The red letters that this transaction brought, and those that wait for a blue invoice that it
# brought: its own rows of the change feed know which it touched.
_ADD_LINKS = """
WITH link AS (
    SELECT r.red_letter_of AS blue, r.key AS red
    FROM feed_link AS l INNER JOIN invoice AS r ON r.key = l.red AND r.red_letter_of = l.blue
    WHERE NOT l.ended
    UNION
    SELECT r.red_letter_of, r.key
    FROM ledger_change AS c
    CROSS JOIN LATERAL (
        SELECT i.key, i.red_letter_of FROM invoice AS i WHERE i.red_letter_of = ANY(c.keys)
    ) AS r
    WHERE c.xid = pg_current_xact_id()
)

UPDATE invoice AS i
SET red_letters = array(SELECT unnest(i.red_letters) UNION SELECT unnest(l.reds) ORDER BY 1)
FROM (SELECT blue, array_agg(red) AS reds FROM link GROUP BY blue) AS l
WHERE i.key = l.blue AND NOT i.red_letters @> l.reds
"""

# A red letter that has turned to another blue invoice leaves the first.
_REMOVE_LINKS = """
UPDATE invoice AS i
SET red_letters = array(SELECT unnest(i.red_letters) EXCEPT SELECT unnest(l.reds) ORDER BY 1)
FROM (
    SELECT l.blue, array_agg(l.red) AS reds
    FROM feed_link AS l INNER JOIN invoice AS r ON r.key = l.red
    WHERE l.ended AND r.red_letter_of IS DISTINCT FROM l.blue
    GROUP BY l.blue
) AS l
WHERE i.key = l.blue AND i.red_letters && l.reds
"""

# In the order of keys, so that two feeds do not wait for each other in a circle.
_LOCK_ROWS = """
SELECT key FROM invoice WHERE key = ANY($1::text[]) ORDER BY key FOR NO KEY UPDATE
"""

_UPDATE_STATUS = """
UPDATE invoice AS i
SET
    status = s.status::invoice_status,
    red_letters = array(
        SELECT unnest(i.red_letters) UNION SELECT unnest(s.reds::text[]) ORDER BY 1
    )
FROM unnest($1::text[], $2::text[], $3::text[]) AS s (key, status, reds)
WHERE
    i.key = s.key
    AND (i.status <> s.status::invoice_status OR NOT i.red_letters @> s.reds::text[])
"""


class Merge:
    """One transaction's merges. Counts lines as FeedResult does.

    ``unknown`` has the numbers of the lines whose invoices the ledger does not know.
    """

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._staged = False
        self._touched = False
        self._links = False
        self._ended = False
        self.accepted = 0
        self.unchanged = 0
        self.unknown: list[int] = []

    async def rows(self, chunk: Chunk) -> None:
        """Bring a chunk of invoices into the ledger."""
        rows = chunk.rows
        if not rows:
            return
        keys = sorted(rows)
        known = {row[0]: row[1] for row in await self._connection.fetch(_KNOWN, keys)}
        new = [rows[key] for key in keys if key not in known]
        changed = 0
        if new:
            await self._copy("invoice", new, "{}")
        if known:
            changed = await self._update([rows[key] for key in keys if key in known])
        await self._remember_links(rows, known)
        self._touched = self._touched or bool(new or changed)
        self.accepted += chunk.accepted + len(new) + changed
        self.unchanged += chunk.unchanged + len(known) - changed

    async def link(self) -> None:
        """Complete the lists of red letters: the last step before COMMIT."""
        if not self._touched and not self._links:
            return
        lock = "pg_advisory_xact_lock" if self._links else "pg_advisory_xact_lock_shared"
        await self._connection.execute(f"SELECT {lock}({_LINK_LOCK})")
        await self._connection.execute(_ADD_LINKS)
        if self._ended:
            await self._connection.execute(_REMOVE_LINKS)

    async def statuses(self, chunk: StatusChunk) -> None:
        """Give the invoices of a chunk another status."""
        keys = sorted(chunk.changes)
        known = {row[0] for row in await self._connection.fetch(_LOCK_ROWS, keys)}
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
        overtaken = sum(len(chunk.lines[key]) - 1 for key in known)
        self.accepted += changed + overtaken
        self.unchanged += len(known) - changed
        self.unknown += [line for key in chunk.changes.keys() - known for line in chunk.lines[key]]

    async def _update(self, rows: Sequence[Row]) -> int:
        """Update rows that are there; how many were not the same already."""
        if self._staged:
            await self._connection.execute("TRUNCATE feed_line")
        self._staged = True
        await self._copy("feed_line", rows, "\\N")
        if any(row.red_letters for row in rows):
            await self._connection.execute(_ADD_DERIVED)
        return _count(await self._connection.execute(_UPDATE))

    async def _copy(self, table: str, rows: Sequence[Row], unmentioned: str) -> None:
        text = "".join([f"{row.text}\t{row.red_letters or unmentioned}\n" for row in rows])
        await self._connection.copy_to_table(
            table, source=_pieces(text.encode()), columns=(*COLUMNS, "red_letters")
        )

    async def _remember_links(self, rows: dict[str, Row], known: dict[str, str | None]) -> None:
        begun = [(row.key, row.red_letter_of, False) for row in rows.values() if row.red_letter_of]
        ended = [
            (key, blue, True)
            for key, blue in known.items()
            if blue is not None and blue != rows[key].red_letter_of
        ]
        links = begun + ended
        if links:
            self._links = True
            self._ended = self._ended or bool(ended)
            await self._connection.execute(_REMEMBER_LINKS, *map(list, zip(*links, strict=True)))


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), _PIECE):
        yield data[start : start + _PIECE]


def _count(tag: str) -> int:
    """The number of rows in a command tag such as ``UPDATE 5``."""
    return int(tag.rpartition(" ")[2])
