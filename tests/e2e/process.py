"""``verifier serve`` as processes of their own, as an operator runs it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import msgspec

from tests.support import Database, variables, wait_replayed
from verifier.database.migrate import migrate


class Process(msgspec.Struct):
    """A running ``verifier serve``."""

    url: str
    handle: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.handle.pid

    @property
    def port(self) -> int:
        """The port that it serves on."""
        return int(self.url.rpartition(":")[2])

    def workers(self) -> list[int]:
        """The processes that it has started."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def resident(self) -> int:
        """Its resident memory in bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@asynccontextmanager
async def serving(
    database: Database, *options: str, log: IO[bytes] | None = None, **settings: object
) -> AsyncIterator[Process]:
    """``verifier serve`` with options over a database, on a free port; ends with SIGTERM.

    ``log`` gets its stderr, which otherwise is this process's.
    """
    await migrate(database.primary_dsn)
    await wait_replayed(database.primary_dsn, database.replica_dsns)
    replicas = ",".join(database.replica_dsns)
    databases = {"primary_dsn": database.primary_dsn, "replica_dsns": replicas}
    async with started(settings | databases, *options, log=log) as process:
        yield process


# A service that finds no database waits at its start for as long as one may take to answer.
NOWHERE: dict[str, object] = {
    "primary_dsn": "postgresql://127.0.0.1:1/nowhere",
    "connect_timeout": 0.25,
    "query_timeout": 0.25,
}


@asynccontextmanager
async def started(
    settings: Mapping[str, object], *options: str, log: IO[bytes] | None = None
) -> AsyncIterator[Process]:
    """``verifier serve``; when the settings name no database there is none, and it serves too."""
    given = (
        {"drain_accept": 0} | (NOWHERE if "primary_dsn" not in settings else {}) | dict(settings)
    )
    async with starting(given, *options, log=log) as process:
        yield process


@asynccontextmanager
async def starting(
    settings: Mapping[str, object], *options: str, log: IO[bytes] | None = None
) -> AsyncIterator[Process]:
    """``verifier serve`` with just these settings."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "verifier", "serve", "--port", "0", *options),
        env=os.environ | variables(**settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            said = (await process.stdout.readline()).decode().split()
        assert said[:1] == ["ready"], said
        yield Process(said[1], process)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            await process.wait()
