"""Replicas: slots, clones, and whether one can be used as it is."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from verifier.embedded.binaries import Binaries
from verifier.embedded.processes import Launcher
from verifier.embedded.server import HERE, POLL, PRIMARY, Server
from verifier.errors import ClusterError

# Bound (seconds) of a clone: ten minutes are about 100 GB.
CLONE_TIMEOUT = 600.0
# A replica that accepts connections asks its primary for WAL every wal_retrieve_retry_interval.
# One that has not got any for this long (seconds) never will.
STANDSTILL = 10.0

WAL_GONE = "the primary has not kept the WAL that it needs"


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[asyncpg.Connection]:
    """Hold one short-lived connection to a server that is up; its failures are ClusterErrors."""
    try:
        connection = await asyncpg.connect(
            server.dsn_for("postgres"), timeout=10, command_timeout=60
        )
        try:
            yield connection
        finally:
            await connection.close(timeout=5)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise ClusterError(
            f"{server.name} fails while the cluster starts: {error!r}; see {server.log}"
        ) from error


def slot_of(name: str) -> str:
    """Return the name of a replica's slot, such as ``replica_1``."""
    return name.replace("-", "_")


async def create_database(primary: Server, name: str) -> None:
    """Create the database unless it is there."""
    async with connected(primary) as connection:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            await connection.execute(f'CREATE DATABASE "{name}"')


async def drop_slots(primary: Server, keep: Collection[str]) -> None:
    """Drop the slots of replicas that no longer run: they would hold back WAL for nobody."""
    async with connected(primary) as connection:
        await connection.fetch(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
            "WHERE slot_type = 'physical' AND NOT active AND slot_name ~ '^replica_[0-9]+$' "
            "AND NOT slot_name = ANY($1::text[])",
            [slot_of(name) for name in keep],
        )


def _control(binaries: Binaries, directory: Path) -> str:
    """Read the control file of a data directory; empty when it is broken."""
    try:
        return subprocess.run(
            [binaries.program("pg_controldata"), directory],
            capture_output=True,
            text=True,
            env={"LC_ALL": "C"},
            timeout=30,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def connections(binaries: Binaries, directory: Path) -> int:
    """How many a server admitted when it last ran; 0 when it never did."""
    known = re.search(
        r"^max_connections setting: +(\d+)", _control(binaries, directory), re.MULTILINE
    )
    return int(known[1]) if known else 0


def origin(binaries: Binaries, replica: Server) -> tuple[int, int] | None:
    """Read a server's system identifier and timeline; None when its control file is broken."""
    text = _control(binaries, replica.directory)
    system = re.search(r"^Database system identifier: +(\d+)", text, re.MULTILINE)
    timeline = re.search(r"^Latest checkpoint's TimeLineID: +(\d+)", text, re.MULTILINE)
    return (int(system[1]), int(timeline[1])) if system and timeline else None


async def defect(binaries: Binaries, primary: Server, replica: Server) -> str | None:
    """Say why the replica has to be cloned before it starts; None when it may be tried as it is."""
    if not (replica.directory / "PG_VERSION").is_file():
        return "there is no copy yet"
    if not (replica.directory / "standby.signal").exists():
        return "it is not a standby"
    theirs = await asyncio.to_thread(origin, binaries, replica)
    if theirs is None:
        return "its control file cannot be read"
    async with connected(primary) as connection:
        ((system, timeline),) = await connection.fetch(
            "SELECT system_identifier, timeline_id "
            "FROM pg_control_system(), pg_control_checkpoint()"
        )
        kept = await wal_kept(connection, replica)
    if theirs[0] != system:
        return "it is a copy of another primary"
    if theirs[1] > timeline:
        return "it has left the primary's timeline"
    return None if kept else WAL_GONE


async def wal_kept(connection: asyncpg.Connection, replica: Server) -> bool:
    """Ask the primary whether the replica's slot still holds the WAL that it needs."""
    status = await connection.fetchval(
        "SELECT wal_status FROM pg_replication_slots WHERE slot_name = $1", slot_of(replica.name)
    )
    return status not in {None, "lost"}


async def clone(
    binaries: Binaries, launcher: Launcher, primary: Server, replica: Server, part: Path
) -> None:
    """Copy the primary into ``part``, an empty directory, with a new slot for the replica."""
    slot = slot_of(replica.name)
    async with connected(primary) as connection:
        await connection.fetch(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
            "WHERE slot_name = $1",
            slot,
        )
        await connection.fetch("SELECT pg_create_physical_replication_slot($1, true)", slot)
    await launcher.run(
        [
            binaries.program("pg_basebackup"),
            f"--pgdata={HERE}",
            f"--dbname=host={PRIMARY} port={primary.port} user=verifier",
            "--no-password",
            "--write-recovery-conf",
            "--wal-method=stream",
            f"--slot={slot}",
            "--checkpoint=fast",
            "--sync-method=syncfs",
        ],
        part,
        CLONE_TIMEOUT,
    )


async def streaming(primary: Server, replica: Server) -> None:
    """Wait until the replica, which has started, answers and streams from the primary.

    Raises ClusterError when it answers with an error, or when the primary has sent it nothing
    new for STANDSTILL.
    """
    async with connected(replica) as connection:
        await connection.fetchval("SELECT 1")
    loop = asyncio.get_running_loop()
    sent, moved = -1, loop.time()
    async with connected(primary) as connection:
        while True:
            rows = await connection.fetch(
                "SELECT state, sent_lsn FROM pg_stat_replication WHERE application_name = $1",
                replica.name,
            )
            for state, position in rows:
                if state == "streaming":
                    return
                # One that asks for what is not there any more comes again and again, from the
                # same position.
                if position is not None and position > sent:
                    sent, moved = position, loop.time()
            if replica.pid is None or loop.time() > moved + STANDSTILL:
                raise ClusterError(
                    f"{replica.name} does not get the primary's WAL; see {replica.log}"
                )
            await asyncio.sleep(POLL)
