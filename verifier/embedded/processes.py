"""Run programs as the right user; wait for and end processes. Linux only.

Nothing here is bound to an event loop, so a cluster may be started in one and stopped in another.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO

from verifier import lifeline
from verifier.embedded.binaries import Account
from verifier.errors import ClusterError

# What may be left behind in a data directory. A shell or an editor in there is not ours to end.
_PROGRAMS = frozenset({"postgres", "initdb", "pg_basebackup"})


class Launcher:
    """Starts programs that end when this process, or this object, is gone.

    The kernel's parent-death signal means the parent *thread*. So all programs are started from
    one thread of our own, which lives until ``close``; the caller's thread may come and go.
    """

    def __init__(self, account: Account | None) -> None:
        self._account = account
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedded-postgres")

    def spawn(
        self, command: Sequence[str], directory: Path, output: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """Start ``command`` in ``directory`` as the account, its output going to ``output``."""
        uid, gid, _ = self._account or (-1, -1, "")
        arguments = [sys.executable, "-I", "-S", lifeline.__file__]
        # SIGQUIT ends a postmaster at once, even with a hung backend; the next start then recovers
        # from the WAL, which loses nothing that was committed.
        arguments += map(str, (os.getpid(), int(signal.SIGQUIT), uid, gid))

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [*arguments, str(directory), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(),
                # Ctrl-C in the terminal is for the caller, who stops the servers in order.
                start_new_session=True,
            )

        # Blocks for about 2 ms; awaiting instead would lose the process of a cancelled caller.
        return self._thread.submit(start).result()

    async def run(self, command: Sequence[str], directory: Path, within: float) -> str:
        """Run a program to its end, within so many seconds, and return what it printed.

        Raises ClusterError with the program's own words when it fails.
        """
        name = Path(command[0]).name
        with tempfile.TemporaryFile() as output:
            process = self.spawn(command, directory, output)
            try:
                if not await gone(process.pid, within):
                    raise ClusterError(f"{name} took longer than {within:g} s in {directory}")
            finally:
                # Without effect on a process that has ended.
                process.kill()
                process.wait()
            output.seek(0)
            text = output.read().decode(errors="replace")
        if process.returncode:
            raise ClusterError(
                f"{name} failed with status {process.returncode} in {directory}:\n{text.strip()}"
            )
        return text

    def close(self) -> None:
        """Let the thread end, and with it every program that still runs."""
        self._thread.shutdown(wait=False)


def _environment() -> dict[str, str]:
    """Copy ours without what would redirect PostgreSQL's programs; their messages in English."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PG")}
    # pg_basebackup writes the place of the home's .pgpass into the replica's configuration.
    return kept | {"HOME": "/nonexistent", "LC_ALL": "C", "TZ": "UTC"}


async def gone(pid: int, within: float) -> bool:
    """Wait until a process, ours or not, has ended; False after ``within`` seconds."""
    try:
        async with asyncio.timeout(within):
            await lifeline.ended(pid)
    except TimeoutError:
        return False
    return True


def inside(directories: Collection[Path]) -> list[int]:
    """List the PostgreSQL processes that work in one of ``directories``, postmasters first.

    Each of them stays in the directory that it serves. That is surer than postmaster.pid, whose
    number may be another program's by now.
    """
    places = set()
    for directory in directories:
        with suppress(OSError):
            status = directory.stat()
            places.add((status.st_dev, status.st_ino))
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        # Processes end while we look, and those of other users are closed to us.
        with suppress(OSError):
            status = os.stat(f"/proc/{entry}/cwd")
            if (status.st_dev, status.st_ino) not in places:
                continue
            # The name stands in parentheses, and may hold some itself: 7 (postgres) S 1 ...
            head, _, tail = Path(f"/proc/{entry}/stat").read_text().rpartition(")")
            if head.partition("(")[2] in _PROGRAMS:
                parents[int(entry)] = int(tail.split()[1])
    return sorted(parents, key=lambda pid: parents[pid] in parents)


def send(pids: Collection[int], number: int) -> None:
    """Signal processes; those that have ended are skipped."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


async def clear(directories: Collection[Path], patience: float = 5.0) -> None:
    """Wait until nothing works in ``directories`` any more; end what does not end by itself.

    After the death of their parent, servers are already ending (a frozen one once it may go on).
    ``patience`` is the time in seconds for that, and for each harder step. Raises ClusterError
    when nothing helped.
    """
    for number in (signal.SIGCONT, signal.SIGQUIT, signal.SIGKILL):
        left = inside(directories)
        send(left, number)
        await asyncio.gather(*(gone(pid, patience) for pid in left))
        if not inside(directories):
            return
    raise ClusterError(
        f"processes {inside(directories)} still use {', '.join(map(str, directories))} "
        "and cannot be ended"
    )
