"""Processes on their cores: started, watched through /proc, ended by their ids.

Measured processes have the first core that we may use; everything else (load, PostgreSQL, this
process) has the second. bench/ uses it as well.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from loadtests.revisions import ROOT

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

# What a service is given unless told otherwise: nobody asks any more when it ends, and no key is
# asked for.
_SERVICE: Mapping[str, str] = MappingProxyType(
    {"VERIFIER_DRAIN_ACCEPT": "0", "VERIFIER_AUTH": "off"}
)

READY_SECONDS = 60.0
STOP_SECONDS = 20.0


class RigError(Exception):
    """The rig cannot measure; the message is for the terminal."""


def cores() -> tuple[int, int]:
    """The measured core and the other one. RigError when there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise RigError("figures need two cores: one for what is measured, one for the load")
    return allowed[0], allowed[1]


def pinned(core: int | Collection[int], command: Sequence[str]) -> list[str]:
    """The command, on one core or on some."""
    allowed = (core,) if isinstance(core, int) else sorted(core)
    return ["taskset", "-c", ",".join(map(str, allowed)), *command]


def python(*arguments: str) -> list[str]:
    """A command of this interpreter."""
    return [sys.executable, *arguments]


def cpu_seconds(pid: int) -> float:
    """What a process has used of its cores, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def children(pid: int) -> list[int]:
    """The processes that one has started and that run; none when it has ended."""
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def tree_cpu_seconds(pid: int) -> float:
    """What a process and all below it have used, those that have ended and been waited for too."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS + sum(map(tree_cpu_seconds, children(pid)))


def busy_seconds(core: int) -> float:
    """What everybody has used of a core since the machine started."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _wait, irq, softirq = map(int, ticks[:7])
            return (user + nice + system + irq + softirq) / _TICKS
    raise RigError(f"/proc/stat has no cpu{core}")


def resident_bytes(pid: int) -> int:
    """How much of a process is in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def peak_bytes(pid: int) -> int:
    """The most that has been in memory since ``forget_peak``."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RigError(f"process {pid} has ended")


def forget_peak(pid: int) -> None:
    """Have the peak begin at what is in memory now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


class Server:
    """A process that says ``ready URL`` on a line of its own and serves until SIGTERM.

    RigError with the end of its log when it does not. It is pinned to ``core``, one or some, and
    runs what lies in ``tree``.
    """

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        core: int | Collection[int],
        log: Path,
        tree: Path = ROOT,
    ) -> None:
        self.core = core
        with log.open("wb") as sink:
            self._process = subprocess.Popen(
                pinned(core, command),
                cwd=tree,
                env={**os.environ, **_SERVICE, **environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=sink,
            )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], READY_SECONDS)
        line = self._process.stdout.readline().decode() if readable else ""
        if not line.startswith("ready "):
            self.stop()
            raise RigError(f"{' '.join(command)} is not ready:\n{log.read_text()[-2000:]}")
        self.urls = line.split()[1:]
        self.url = self.urls[0]
        host, _, port = self.url.removeprefix("http://").partition(":")
        self.address = host, int(port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, in order if it can."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def run(
    command: Sequence[str], environ: Mapping[str, str], core: int, stdin: int | None = None
) -> str:
    """Run to the end on a core; what it printed. RigError when it fails."""
    done = subprocess.run(
        pinned(core, command),
        cwd=ROOT,
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RigError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return done.stdout
