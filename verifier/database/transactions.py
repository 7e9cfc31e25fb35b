"""Transactions that write: work is put into one a piece at a time, and its COMMIT has a position.

While one piece is done, whoever puts the pieces can make the next one ready.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import asyncpg

from verifier.database.connections import FAILURES, or_terminated, unavailable
from verifier.errors import Unavailable
from verifier.state import Position

# What two transactions do to each other that touch the same rows at the same time.
_CONFLICTS = (
    asyncpg.UniqueViolationError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
)
# Mistakes of this program rather than faults of the database: not for callers to try again.
_MISTAKES = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.SyntaxOrAccessError,
)

# The place of a record of its own, written and flushed once the COMMIT is visible. The place of the
# COMMIT would not do: it is flushed before the transaction is visible (long before, while a
# synchronous standby is waited for), and a probe in between passes it and sees the state before.
_POSITION = """
SELECT
    ('x' || left(pg_walfile_name(lsn), 8))::bit(32)::int,
    (lsn - '0/0'::pg_lsn)::bigint
FROM pg_logical_emit_message(FALSE, 'verifier', '', TRUE) AS message (lsn)
"""


class Transaction:
    """A transaction that is committed once, or ends without having happened.

    Every method raises Unavailable for what the database raises: ``conflict`` when others are in
    the way, else as in connections.py. Mistakes of this program stay what they are.
    """

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self._running: asyncio.Task[None] | None = None
        self._over = False
        connection.add_termination_listener(self._lost)

    @classmethod
    async def begin(cls, connection: asyncpg.Connection) -> Transaction:
        """Begin; a connection that cannot is terminated, and the database's error raised."""
        with or_terminated(connection):
            await connection.execute("BEGIN")
        return cls(connection)

    async def begin_again(self) -> None:
        """Undo what was done so far and begin anew, after an error that the server has answered."""
        with translated(), or_terminated(self.connection):
            await self.connection.execute("ROLLBACK; BEGIN")

    async def put(self, work: Coroutine[Any, Any, None]) -> None:
        """Have some work done next. Returns when what was put before is done; raises its error."""
        with ExitStack() as undo:
            # Nobody awaits it any more if the work before it failed.
            undo.callback(work.close)
            await self._settle()
            undo.pop_all()
        self._running = asyncio.create_task(work)

    async def commit(self) -> Position:
        """Finish all work and COMMIT; a position that only states have passed which show it."""
        await self._settle()
        with translated():
            # PostgreSQL answers COMMIT with ROLLBACK, not with an error, if it comes to that.
            if await self.connection.execute("COMMIT") != "COMMIT":
                raise Unavailable("conflict")
            ((timeline, lsn),) = await self.connection.fetch(_POSITION)
        self._over = True
        return Position(timeline, lsn)

    async def end(self) -> bool:
        """Whether the connection can be used again. What was not committed did not happen."""
        try:
            running = self._running
            self.connection.remove_termination_listener(self._lost)
            if running is not None:
                # Before its connection goes: a COPY that waits to write would never hear of that.
                running.cancel()
                await asyncio.wait({running})
                # Whoever ended early knows why; the error of the work is a consequence.
                _ = running.cancelled() or running.exception()
        finally:
            if not self._over:
                self.connection.terminate()
        return self._over

    async def _settle(self) -> None:
        """Wait for the work that was put last; raises its error."""
        running = self._running
        if running is not None:
            # Not awaited itself: to cancel it would open a second connection, to cancel the query.
            await asyncio.wait({running})
            self._running = None
            with translated():
                try:
                    running.result()
                except asyncio.CancelledError:
                    raise Unavailable("no_database") from None
                except RuntimeError as error:
                    # A COPY that is cancelled tells the server, which raises on uvloop if that is
                    # gone.
                    if self.connection.is_closed():
                        raise Unavailable("no_database") from error
                    raise

    def _lost(self, _: Any) -> None:
        """The connection has gone by itself; the work would not always notice (``end``)."""
        if self._running is not None:
            self._running.cancel()


@contextmanager
def translated() -> Iterator[None]:
    """What the database raises, as Unavailable; mistakes of this program stay what they are."""
    try:
        yield
    except _CONFLICTS as error:
        raise Unavailable("conflict") from error
    except asyncpg.UndefinedTableError as error:
        raise unavailable(error) from error
    except _MISTAKES:
        raise
    except FAILURES as error:
        raise unavailable(error) from error
