"""Turns: how feeds that touch the same invoices wait for each other, and never in a circle.

Within a chunk a feed takes what it waits for in one order: the invoices that it brings, then those
that it changes (its own and those that its red letters concern), each in the order of keys, and in
the end the lock on links (links.py), after which it waits for nothing. So of two *short* feeds, of
one chunk, one waits and the other goes on.

A *long* feed goes through that order once for each chunk, and cannot begin again, since its lines
are gone. So there is one at a time, and the short ones give way: who has waited for
``Config.write_lock_timeout`` lets go of all that it has and begins again, now after the long feed
that is under way. A COPY that meets the uncommitted row of somebody else fails once that is
committed; hence a long feed copies while no short one has brought anything that is not committed.
"""

from __future__ import annotations

import asyncpg

# Chosen once for all versions of this program ("longfeed", "new rows", "red link" in ASCII).
_LONG_FEED = 0x6C6F6E6766656564
_NEW_ROWS = 0x6E657720726F7773
_LINKS = 0x726564206C696E6B


class Turn:
    """The turn of one transaction that feeds the ledger: a short feed unless ``begin_long``.

    Its connection has ``Config.write_lock_timeout`` as its ``lock_timeout``.
    """

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.long = False

    async def begin_long(self) -> None:
        """Wait until no other long feed is under way, nor a short one that had to give way."""
        self.long = True
        await self._connection.execute(
            f"SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock({_LONG_FEED})"
        )

    async def give_way(self) -> None:
        """Wait until no long feed is under way, and hold the next one up."""
        await self._connection.execute(
            f"SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock_shared({_LONG_FEED});"
            "SET LOCAL lock_timeout TO DEFAULT"
        )

    async def look(self) -> None:
        """Before it is found out which invoices are new."""
        if self.long:
            await self._connection.execute(f"SELECT pg_advisory_lock({_NEW_ROWS})")

    async def bring(self) -> None:
        """Before new invoices are copied."""
        if not self.long:
            await self._connection.execute(f"SELECT pg_advisory_xact_lock_shared({_NEW_ROWS})")

    async def brought(self) -> None:
        """After that, whether or not there were any."""
        if self.long:
            await self._connection.execute(f"SELECT pg_advisory_unlock({_NEW_ROWS})")

    async def link(self, *, alone: bool) -> None:
        """Of two feeds of which one is ``alone``, the later one sees what the other has linked.

        Whoever holds this lock would be waited for by all, so a short feed waits for nobody else
        any more: an invoice that somebody has taken in the meantime is a conflict.
        """
        lock = "pg_advisory_xact_lock" if alone else "pg_advisory_xact_lock_shared"
        bound = "" if self.long else "; SET LOCAL lock_timeout = 1"
        await self._connection.execute(f"SELECT {lock}({_LINKS}){bound}")
