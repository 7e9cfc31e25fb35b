"""Scenario 17: the primary's disk is full while the ledger is fed.

The directories of the data and of the log lie on file systems of their own, in memory and small.
That takes a mount, which only root may do.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import msgspec
import pytest

from tests.faults.conftest import grounded
from tests.faults.ground import Ground, ask, ended
from tests.faults.scenario import Row, play
from tests.faults.service import Service
from tests.faults.wire import feeder
from tests.support import require_tool, run
from verifier.embedded import Server
from verifier.invoice.identity import key_of
from verifier.synthetic.ledger import Ledger

MIB = 1 << 20
# Beyond what is there already; the log needs some segments of 16 MiB.
ROOM = {"base": 64 * MIB, "pg_wal": 64 * MIB}
# What is left when the disk is full: no segment of the log fits in, nor do many rows.
LEFT = 2 * MIB
LINES = 2_000
_SEED = 6


@pytest.fixture(scope="module")
def cramped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Run a cluster of its own whose primary has little room."""
    with ExitStack() as mounted:
        for ground in grounded(tmp_path_factory):
            primary = ground.cluster.primary
            run(primary.stop())
            for name, room in ROOM.items():
                mount(mounted, primary.directory / name, room)
            run(primary.start())
            run(ground.replayed())
            yield ground


def mount(mounted: ExitStack, directory: Path, room: int) -> None:
    """Put a directory, with what is in it, on a file system with some room to spare."""
    status = directory.stat()
    used = sum(file.stat().st_blocks * 512 for file in directory.rglob("*"))
    aside = directory.with_name(f"{directory.name}.aside")
    directory.rename(aside)
    directory.mkdir()
    options = f"size={used + room},mode=700,uid={status.st_uid},gid={status.st_gid}"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        require_tool("a file system in memory", found=False)
    mounted.callback(subprocess.run, ["umount", str(directory)], check=True)
    shutil.copytree(aside, directory, dirs_exist_ok=True)
    for entry in directory.rglob("*"):
        os.chown(entry, status.st_uid, status.st_gid)
    shutil.rmtree(aside)


@pytest.fixture(scope="module")
def fed(cramped: Ground) -> Iterator[Service]:
    """Run a service over it."""
    with cramped.service() as service:
        yield service


class Ingest:
    """Feeds one part of a ledger after the other; a part that is refused is fed again."""

    def __init__(self, ground: Ground, first: int) -> None:
        self._ledger = Ledger(1_000_000, _SEED, ground.items.until)
        self._next = first
        self.acknowledged: list[str] = []
        self.refused = 0

    async def run(self, port: int) -> None:
        """Feed until cancelled."""
        async with feeder(port, patience=10.0) as session:
            while True:
                invoices = [self._ledger.invoice(self._next + line) for line in range(LINES)]
                lines = b"\n".join(map(msgspec.json.encode, invoices))
                async with session.post("/v1/ledger/invoices", data=lines) as response:
                    said = await response.read()
                if response.status == 200:
                    self.acknowledged += [key_of(each.code, each.number) for each in invoices]
                    self._next += LINES
                else:
                    assert response.status == 503, said
                    self.refused += 1
                    await asyncio.sleep(0.1)


@asynccontextmanager
async def full(ground: Ground, service: Service, name: str, ingest: Ingest) -> AsyncIterator[None]:
    """The disk with one of the primary's directories is full, and a long feed runs into that."""
    primary = ground.cluster.primary
    ballast = primary.directory / name / "ballast"
    running = asyncio.create_task(ingest.run(service.port))
    try:
        await until(lambda: len(ingest.acknowledged) > 0)
        free = os.statvfs(ballast.parent)
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - LEFT)
        if name == "pg_wal":
            await use_up_segments(primary)
        await until(lambda: ingest.refused > 0)
        yield
        ballast.unlink()
        await primary.start()
        before = len(ingest.acknowledged)
        await until(lambda: len(ingest.acknowledged) > before)
    finally:
        # What broke off by itself says why.
        await ended(running)


async def use_up_segments(primary: Server) -> None:
    """Begin one segment of the log after the other, until there is no room for another."""
    connection = await asyncpg.connect(primary.dsn)
    with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        for _ in range(20):
            await connection.execute("SELECT pg_logical_emit_message(true, 'full', '')")
            await connection.execute("SELECT pg_switch_wal()")
    connection.terminate()


async def until(condition: Callable[[], bool], within: float = 20.0) -> None:
    """Return when a condition holds."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("name", "what", "first"), [("base", "data", 0), ("pg_wal", "log", 500_000)]
)
async def test_the_disk_is_full(
    cramped: Ground, fed: Service, rows: list[Row], name: str, what: str, first: int
) -> None:
    """Feeds are refused while there is no room, and nothing that was acknowledged is lost."""
    ingest = Ingest(cramped, first)
    fault = full(cramped, fed, name, ingest)
    rows.append(await play(f"17 disk full ({what})", cramped.load, fed, fault))
    keys = ingest.acknowledged
    await cramped.replayed()
    for server in (cramped.cluster.primary, *cramped.cluster.replicas):
        sql = "SELECT count(*) FROM invoice WHERE key = ANY($1::text[])"
        assert await ask(server, sql, keys) == len(keys)
