"""Opening connections to PostgreSQL within bounds, and what its errors mean.

A connection that is late is terminated, never cancelled: to cancel, asyncpg opens a second
connection to the very server that does not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from math import ceil
from typing import Literal

import asyncpg

from verifier.config import Databases, Ingest
from verifier.errors import Unavailable

# What a database that fails raises. OSError includes refused connections and TimeoutError.
FAILURES = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

_READER = {
    "application_name": "verifier-read",
    # A reader cannot write, whatever SQL it is given.
    "default_transaction_read_only": "on",
    # One plan for ever; the statement takes any number of keys.
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "DateStyle": "ISO, YMD",
    "search_path": "public",
}
_WRITER = {
    "application_name": "verifier-ingest",
    # What is acknowledged is on disk.
    "synchronous_commit": "on",
    # A chunk of lines and its transition tables stay in memory.
    "work_mem": "64MB",
    # A chunk is joined by index, or each would read a large ledger from end to end.
    "plan_cache_mode": "force_generic_plan",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_seqscan": "off",
    "jit": "off",
    "DateStyle": "ISO, YMD",
    "search_path": "public",
    # The server notices within this time that a terminated writer is gone, and rolls back.
    "client_connection_check_interval": "1s",
}

Role = Literal["primary", "replica"]


async def open_reader(dsn: str, config: Databases) -> asyncpg.Connection:
    """A connection to the host of a DSN that can only read.

    Its statement timeout is a second bound: the first is kept by whoever waits, since a frozen
    server keeps none.
    """
    bound = str(ceil(config.query_timeout * 1000))
    return await _open(dsn, config, {**_READER, "statement_timeout": bound})


async def open_writer(dsn: str, config: Databases, ingest: Ingest) -> asyncpg.Connection:
    """A connection to the host of a DSN that may write, for what comes into the ledger."""
    bound = str(ceil(ingest.write_timeout * 1000))
    bounds = {
        "idle_in_transaction_session_timeout": bound,
        "statement_timeout": bound,
        "lock_timeout": str(ceil(ingest.write_lock_timeout * 1000)),
    }
    return await _open(dsn, config, {**_WRITER, **bounds})


async def _open(dsn: str, config: Databases, settings: dict[str, str]) -> asyncpg.Connection:
    try:
        return await asyncpg.connect(dsn, timeout=config.connect_timeout, server_settings=settings)
    except KeyError as error:
        # A DSN without a user means us. Python says so when it cannot look us up: nobody of our id
        # has a name, or no descriptor is free for the file of names.
        raise ConnectionError(f"no user in the DSN, and {error.args[0]}") from error


@contextmanager
def or_terminated(connection: asyncpg.Connection) -> Iterator[None]:
    """Terminate a connection unless the block ends well, which a cancelled one does not.

    It would stay open otherwise, in the middle of something, with nobody to close it.
    """
    with ExitStack() as undo:
        undo.callback(connection.terminate)
        yield
        undo.pop_all()


def reason_of(error: BaseException) -> str:
    """A short stable word for what a database did, for metrics, logs and Unavailable."""
    if isinstance(error, TimeoutError | asyncpg.QueryCanceledError):
        return "timeout"
    if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
        return "read_only"
    if isinstance(error, asyncpg.SerializationError):
        return "recovery_conflict"
    if isinstance(error, asyncpg.UndefinedTableError | asyncpg.UndefinedColumnError):
        return "no_schema"
    if isinstance(error, asyncpg.InsufficientResourcesError):
        return "no_resources"
    return "no_database"


async def within(event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set or the time has passed, and clear the event."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
    event.clear()


def unavailable(error: BaseException, retry_after: int = 1) -> Unavailable:
    """The error of a database as what callers see."""
    return Unavailable(reason_of(error), retry_after)
