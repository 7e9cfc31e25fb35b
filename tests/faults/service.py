"""``verifier serve`` with several workers, as an operator runs it."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support import variables
from verifier import lifeline

_LISTEN = "0A"


class Service:
    """A supervisor and its workers, as processes of their own. Their logs go to a file."""

    def __init__(self, log: Path, workers: int, settings: Mapping[str, object], *more: str) -> None:
        self._log = log
        self.workers = workers
        environ = {
            name: value for name, value in os.environ.items() if not name.startswith("VERIFIER_")
        }
        environ |= variables(**{"drain_accept": 0} | dict(settings))
        with log.open("ab") as said:
            self._process = subprocess.Popen(
                [
                    # It ends with this process, however that ends.
                    *(sys.executable, "-I", "-S", lifeline.__file__, str(os.getpid())),
                    *(str(int(signal.SIGQUIT)), "-1", "-1", os.getcwd()),
                    *(sys.executable, "-m", "verifier", "serve"),
                    *("--port", "0", "--workers", str(workers), *more),
                ],
                env=environ,
                stdout=subprocess.PIPE,
                stderr=said,
            )
        # One, or with --port-each that of every worker.
        self.ports = self._ready()
        self.port = self.ports[0]

    def _ready(self) -> list[int]:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], (), (), 60.0)[0]:
            self.stop()
            raise AssertionError(f"the service is not ready after a minute:\n{self.said()}")
        words = self._process.stdout.readline().decode().split()
        assert words[:1] == ["ready"], self.said()
        return [int(url.rpartition(":")[2]) for url in words[1:]]

    def said(self) -> str:
        """The end of the log."""
        return self._log.read_text()[-4000:]

    def pids(self) -> list[int]:
        """The workers that run now."""
        pid = self._process.pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def listening(self) -> int:
        """How many workers accept connections."""
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        ours = f":{self.port:04X}"
        return sum(
            fields[1].endswith(ours) and fields[3] == _LISTEN for fields in map(str.split, lines)
        )

    async def replaced(self, dead: Sequence[int], within: float = 20.0) -> None:
        """Return when workers that were killed are gone and all accept connections again."""
        async with asyncio.timeout(within):
            while set(dead) & set(self.pids()) or self.listening() < self.workers:
                await asyncio.sleep(0.02)

    async def reload(self, within: float = 60.0) -> None:
        """Have all workers replaced, by SIGHUP; returns when those who were there are gone."""
        before = set(self.pids())
        self._process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(within):
            while before & set(self.pids()):
                await asyncio.sleep(0.02)
        assert len(self.pids()) == self.workers, self.said()

    def stop(self) -> None:
        """Stop in order; whatever hangs is killed."""
        for pid in self.pids():
            os.kill(pid, signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(20.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            assert self._process.stdout is not None
            self._process.stdout.close()
