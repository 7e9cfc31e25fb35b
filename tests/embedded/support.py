"""What the tests of the embedded cluster share."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg

from verifier.embedded import Cluster, Server
from verifier.embedded.binaries import Account, reachable
from verifier.embedded.processes import gone, inside

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = Path(asyncpg.__file__).parents[1]
SETTINGS = {"shared_buffers": "32MB", "max_connections": "30"}

# A process that owns a cluster, says what it does, and waits to be killed.
OWNER = f"""
import asyncio, sys
from pathlib import Path
from verifier.embedded import Cluster

async def main():
    cluster = Cluster(
        Path(sys.argv[1]),
        replicas=int(sys.argv[2]),
        settings={SETTINGS!r},
        notify=lambda text: print(text, flush=True),
    )
    await cluster.start()
    print("ready", cluster.primary.dsn, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def cluster_in(data: Path, replicas: int = 1, steps: list[str] | None = None) -> Cluster:
    """Make a small cluster; what it says it does is appended to ``steps``."""
    notify = (lambda _: None) if steps is None else steps.append
    return Cluster(data, replicas=replicas, settings=SETTINGS, notify=notify)


async def ask(server: Server, sql: str) -> Any:
    """Return the first value of the answer to one statement."""
    connection = await asyncpg.connect(server.dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def until(server: Server, sql: str, expected: object, within: float = 10.0) -> None:
    """Wait until the answer is the expected one."""
    async with asyncio.timeout(within):
        while await ask(server, sql) != expected:
            await asyncio.sleep(0.02)


def servers_in(data: Path) -> list[int]:
    """List the ids of all PostgreSQL processes of a cluster."""
    return inside([entry for entry in data.iterdir() if entry.is_dir()])


async def all_gone(pids: list[int], within: float = 10.0) -> bool:
    """Say whether all processes end in time."""
    return all(await asyncio.gather(*(gone(pid, within) for pid in pids)))


@contextmanager
def owner(
    data: Path, replicas: int = 1, user: Account | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run a process that owns a cluster; its lines can be read from ``stdout``."""
    python = sys.executable if user is None else interpreter(user)
    process = subprocess.Popen(
        [python, "-c", OWNER, str(data), str(replicas)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{PACKAGES}"},
        user=user.uid if user else None,
        group=user.gid if user else None,
        extra_groups=[] if user else None,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def lines_until(process: subprocess.Popen[str], word: str) -> list[str]:
    """Read what the owner says, up to and with the line that starts with ``word``."""
    assert process.stdout is not None
    said: list[str] = []
    for line in process.stdout:
        said.append(line.strip())
        if line.startswith(word):
            return said
    raise AssertionError(f"the owner ended after {said}")


def interpreter(user: Account) -> str:
    """Find a Python of this version that the user may run; an empty string if there is none."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, shutil.which(version, path="/usr/bin:/usr/local/bin")):
        if candidate and reachable(Path(candidate).resolve(), user):
            return candidate
    return ""
