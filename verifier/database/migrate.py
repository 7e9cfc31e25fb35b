"""Bring the schema up to date: ordered SQL files, each applied once, in a transaction of its own.

Files are ``migrations/NNNN_name.sql``. What was applied is kept with its checksum in the table
``schema_migration``; an applied file is never edited, a change is a new file. Runners may start at
the same time: an advisory lock lets one work and the others find it done.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from importlib import resources

import asyncpg

from verifier.errors import MigrationError

# Of this program; chosen once, must not change ("verifier" in ASCII, cut to 63 bits).
_LOCK = 0x7665726966696572

# A runner waits this long for another one, and for the server to answer.
_WAIT = "120s"
_CONNECT_SECONDS = 10.0

_NAME = re.compile(r"\d{4}_[a-z0-9_]+\.sql", re.ASCII)

_CREATE = """
CREATE TABLE IF NOT EXISTS schema_migration (
    name text PRIMARY KEY,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""


def bundled() -> dict[str, str]:
    """The migrations that come with this program: name without suffix to SQL, in their order."""
    folder = resources.files("verifier.database") / "migrations"
    names = sorted(file.name for file in folder.iterdir() if _NAME.fullmatch(file.name))
    return {name.removesuffix(".sql"): (folder / name).read_text("utf-8") for name in names}


async def migrate(dsn: str, migrations: Mapping[str, str] | None = None) -> list[str]:
    """Apply what is missing, and return the names in the order applied.

    MigrationError when an applied file was edited, the schema is newer than this program, the
    database does not speak UTF-8, another runner does not finish, or a statement fails; what was
    applied before it stays.
    """
    migrations = bundled() if migrations is None else migrations
    try:
        connection = await asyncpg.connect(
            dsn,
            timeout=_CONNECT_SECONDS,
            server_settings={"application_name": "verifier-migrate", "search_path": "public"},
        )
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise MigrationError(f"cannot connect to the primary: {_said(error)}") from error
    try:
        return await _migrate(connection, migrations)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise MigrationError(f"cannot migrate: {_said(error)}") from error
    finally:
        connection.terminate()


async def _migrate(connection: asyncpg.Connection, migrations: Mapping[str, str]) -> list[str]:
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        raise MigrationError(f"the database's encoding is {encoding}; expected UTF8")
    # Ends with the session, so a crashed runner leaves no lock behind.
    await connection.execute(f"SET lock_timeout = '{_WAIT}'")
    try:
        await connection.execute(f"SELECT pg_advisory_lock({_LOCK})")
    except asyncpg.LockNotAvailableError:
        raise MigrationError(f"another migration has not finished within {_WAIT}") from None
    await connection.execute(_CREATE)
    done = await _applied(connection)
    _compare(done, migrations)
    missing = [name for name in migrations if name not in done]
    for name in missing:
        try:
            async with connection.transaction():
                await connection.execute(migrations[name])
                await connection.execute(
                    "INSERT INTO schema_migration (name, checksum) VALUES ($1, $2)",
                    name,
                    _checksum(migrations[name]),
                )
        except asyncpg.PostgresError as error:
            raise MigrationError(f"{name}: {_said(error)}") from error
    return missing


async def _applied(connection: asyncpg.Connection) -> dict[str, str]:
    rows = await connection.fetch("SELECT name, checksum FROM schema_migration ORDER BY name")
    return {row["name"]: row["checksum"] for row in rows}


def _compare(done: Mapping[str, str], migrations: Mapping[str, str]) -> None:
    unknown = [name for name in done if name not in migrations]
    if unknown:
        raise MigrationError(
            f"the schema is newer than this program, which lacks {', '.join(unknown)}: "
            "use the version that applied them"
        )
    for name, checksum in done.items():
        if _checksum(migrations[name]) != checksum:
            raise MigrationError(
                f"{name} was edited after it was applied; restore it and put the change into a "
                "new file"
            )
    last = max(done, default="")
    late = [name for name in migrations if name not in done and name < last]
    if late:
        raise MigrationError(
            f"{late[0]} comes before {last}, which is applied: give it a new number"
        )


def _checksum(sql: str) -> str:
    return sha256(sql.encode()).hexdigest()


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
