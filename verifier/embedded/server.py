"""One PostgreSQL server process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

from verifier.embedded.binaries import Binaries
from verifier.embedded.directory import DataDirectory
from verifier.embedded.processes import Launcher, clear, gone, inside, send
from verifier.errors import ClusterError

# A server finds its files and its socket where it stands, and the primary next door: the absolute
# path may be closed to its user, too long for a socket, or another one after a move.
HERE = "/proc/self/cwd"
PRIMARY = f"{HERE}/../primary"

# How often the state of a starting server is read (seconds): PostgreSQL reports it in a file only.
POLL = 0.01
# How long (seconds) recovery after a crash may take: WAL is read at some 100 MB/s.
START_TIMEOUT = 120.0
# Bounds (seconds) of each step of a shutdown: the orderly one, which writes a checkpoint; the
# immediate one, where PostgreSQL itself kills hung children after 5 s; SIGKILL.
STOP_TIMEOUTS = {signal.SIGINT: 20.0, signal.SIGQUIT: 8.0, signal.SIGKILL: 5.0}
# A log larger than this (bytes) is put aside at the next start.
LOG_MAX = 16 * 1024 * 1024


class Server:
    """A primary or replica. Made by Cluster; killed and started again by tests.

    ``name`` is ``primary`` or ``replica-1``...; it is also its cluster_name, and a replica's
    application_name at the primary and (with ``_``) the name of its slot.
    """

    def __init__(
        self,
        name: str,
        port: int,
        data: DataDirectory,
        launcher: Launcher,
        binaries: Binaries,
        settings: Mapping[str, str],
    ) -> None:
        self.name = name
        self.role: Literal["primary", "replica"] = "primary" if name == "primary" else "replica"
        # Only part of the socket's file name, in a folder that is ours alone: it cannot clash.
        self.port = port
        self.directory = data.path / name
        self.log = data.path / f"{name}.log"
        self._data = data
        self._launcher = launcher
        self._binaries = binaries
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def dsn(self) -> str:
        """DSN of the superuser ``verifier`` to the database ``verifier``."""
        return self.dsn_for("verifier")

    def dsn_for(self, database: str) -> str:
        """Return the same for another database."""
        return self._data.dsn(self.name, self.port, database)

    async def start(self) -> None:
        """Start and wait until it accepts connections; nothing to do when it runs.

        Raises ClusterError with the end of the server's log when it ends instead, or after
        START_TIMEOUT.
        """
        if self.pid is not None:
            return
        await clear([self.directory])
        # Nothing works here, so these are stale, even if another process has such an id by now.
        for stale in (self.directory / "postmaster.pid", *self.directory.glob(".s.PGSQL.*")):
            stale.unlink(missing_ok=True)
        process, begin = self._spawn()
        try:
            async with asyncio.timeout(START_TIMEOUT):
                while not self._ready(process.pid):
                    if process.poll() is not None:
                        raise ClusterError(
                            f"{self.name} in {self.directory} does not start:\n{self._said(begin)}"
                        )
                    await asyncio.sleep(POLL)
        except TimeoutError:
            raise ClusterError(
                f"{self.name} in {self.directory} is not ready after {START_TIMEOUT:g} s:\n"
                f"{self._said(begin)}"
            ) from None

    async def stop(self) -> None:
        """Shut down in order, within bounds; nothing to do when it does not run."""
        process = self._process
        if process is None:
            return
        # A frozen server would take none of the signals that follow.
        self.kill(signal.SIGCONT)
        for number, bound in STOP_TIMEOUTS.items():
            if process.poll() is not None:
                break
            if number == signal.SIGKILL:
                self.kill(number)
            else:
                process.send_signal(number)
            await gone(process.pid, bound)
        if process.poll() is None:
            raise ClusterError(f"{self.name} (process {process.pid}) cannot be ended")
        # What a postmaster that was killed has left behind.
        await clear([self.directory])
        self._process = None

    def kill(self, number: int) -> None:
        """Send a signal to the postmaster and all its processes: SIGKILL, SIGSTOP, SIGCONT.

        The postmaster comes first, so that it neither replaces nor outlives what is killed.
        """
        send(inside([self.directory]), number)

    async def wait(self) -> int | None:
        """Wait until the server has ended, for whatever reason, and return its exit status."""
        process = self._process
        if process is None:
            return None
        while process.poll() is None:
            await gone(process.pid, 3600.0)
        return process.returncode

    async def restart(self) -> None:
        """Stop in order and start again."""
        await self.stop()
        await self.start()

    def _spawn(self) -> tuple[subprocess.Popen[bytes], int]:
        """Start the process; return it and the size of its log before."""
        with suppress(FileNotFoundError):
            if self.log.stat().st_size > LOG_MAX:
                self.log.replace(self.log.with_name(f"{self.log.name}.1"))
        settings = {
            **self._settings,
            "cluster_name": self.name,
            "port": str(self.port),
            "unix_socket_directories": HERE,
        }
        command = [self._binaries.program("postgres"), "-D", HERE]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with open(self._data.touch(self.log.name, os.O_WRONLY | os.O_APPEND), "ab") as log:
            begin = log.tell()
            self._process = self._launcher.spawn(command, self.directory, log)
        return self._process, begin

    def _ready(self, pid: int) -> bool:
        # Line 8 of postmaster.pid: starting, stopping, ready, or standby (still recovering).
        try:
            lines = (self.directory / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _said(self, begin: int) -> str:
        with self.log.open("rb") as log:
            log.seek(max(begin, os.fstat(log.fileno()).st_size - 4000))
            return log.read().decode(errors="replace").strip()


async def initialise(binaries: Binaries, launcher: Launcher, directory: Path) -> None:
    """Make a PostgreSQL data directory: superuser ``verifier``, UTF-8, bytewise C.UTF-8 order.

    Everybody who can open the socket is trusted, since only the servers' user (and root) can
    enter its folder; ``peer`` would not do, as root's servers run as somebody else.
    """
    await launcher.run(
        [
            binaries.program("initdb"),
            f"--pgdata={HERE}",
            "--username=verifier",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--auth-local=trust",
            "--auth-host=reject",
            # One call instead of a thousand fsyncs.
            "--sync-method=syncfs",
            "--no-instructions",
        ],
        directory,
        within=START_TIMEOUT,
    )
