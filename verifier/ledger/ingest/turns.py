"""Turns: how transactions that touch the same invoices wait for each other, and never in a circle.

Within a chunk a transaction takes its locks in one order: the invoices that it brings, then those
that it changes (its own and those that its red letters concern), each in the order of keys, and in
the end the lock on links (links.py), after which it waits for nothing. So of two *short*
transactions, of one chunk, one waits and the other goes on.

A *long* transaction goes through that order once for each chunk, and cannot begin again, since its
lines are gone. So there is one at a time, and the short ones give way: one that has waited for
``Ingest.write_lock_timeout`` lets go of all that it has and begins again, now after the long one
that is under way. A COPY that meets somebody else's uncommitted row fails once that is committed;
hence a long transaction copies only while no short one holds uncommitted new rows.
"""

from __future__ import annotations

import asyncpg

# Chosen once for all versions of this program ("longfeed", "new rows", "red link" in ASCII).
_LONG = 0x6C6F6E6766656564
_NEW_ROWS = 0x6E657720726F7773
_LINKS = 0x726564206C696E6B


class Turn:
    """The turn of one transaction that writes invoices: a short one unless ``begin_long``.

    Its connection has ``Ingest.write_lock_timeout`` as its ``lock_timeout``.
    """

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.long = False

    async def begin_long(self) -> None:
        """Wait until no other long one is under way, nor a short one that had to give way."""
        self.long = True
        await self._connection.execute(
            f"SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock({_LONG})"
        )

    async def give_way(self) -> None:
        """Wait until no long transaction is under way, and hold the next one up."""
        await self._connection.execute(
            f"SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock_shared({_LONG});"
            "SET LOCAL lock_timeout TO DEFAULT"
        )

    async def look(self) -> None:
        """Call it before finding out which invoices are new."""
        if self.long:
            await self._connection.execute(f"SELECT pg_advisory_lock({_NEW_ROWS})")

    async def bring(self) -> None:
        """Call it before new invoices are copied."""
        if not self.long:
            await self._connection.execute(f"SELECT pg_advisory_xact_lock_shared({_NEW_ROWS})")

    async def brought(self) -> None:
        """Call it after that, whether or not there were any."""
        if self.long:
            await self._connection.execute(f"SELECT pg_advisory_unlock({_NEW_ROWS})")

    async def link(self, *, alone: bool) -> None:
        """Take the lock on links, exclusively when ``alone``.

        So of two transactions of which one is alone, the later sees what the earlier has committed.
        Whoever holds this lock would be waited for by all, so a short transaction waits for nobody
        else from here on: an invoice that somebody has taken in the meantime is a conflict.
        """
        lock = "pg_advisory_xact_lock" if alone else "pg_advisory_xact_lock_shared"
        bound = "" if self.long else "; SET LOCAL lock_timeout = 1"
        await self._connection.execute(f"SELECT {lock}({_LINKS}){bound}")
