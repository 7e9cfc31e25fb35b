"""Sides of figures that are programs of their own: they run to their end and say what they did."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from statistics import median
from time import perf_counter

import msgspec

from bench.rig import COLD, Rig
from loadtests import processes
from loadtests.processes import RigError, python
from loadtests.revisions import ROOT
from verifier.cli.child import READY
from verifier.config import Config
from verifier.wire.lines import Row, read

STARTS = 3
IMPORT = "bench_import"


class Sample(msgspec.Struct, frozen=True):
    """One measurement: the number that ratios are made of, and how it reads.

    ``cpu`` is what the measured process used of its core for each answer, in seconds; 0 when that
    says nothing.
    """

    value: float
    shown: str
    cpu: float = 0.0


class Programs:
    """Raises RigError when one fails."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig

    def raw(self) -> Sample:
        """Rows by asyncpg alone, over as many connections as a worker has to a replica."""
        config = Config()
        keys = self.rig.file("keys.txt", [key.encode() for key in self.rig.keys(3, COLD)])
        said = self.peer(
            "raw",
            str(keys),
            str(config.databases.read_connections),
            str(config.loading.max_batch),
            str(self.rig.scale.seconds),
        )
        rate = said["rows"] / said["seconds"]
        used = said["cpu"] / said["rows"] * 1_000
        return Sample(rate, f"{rate:,.0f} rows/s, {used * 1e3:.2f} ms of CPU a thousand")

    def peer(self, name: str, *arguments: str) -> dict[str, float]:
        """What one of bench.peers says at its end."""
        command = python("-m", f"bench.peers.{name}", *arguments)
        printed = processes.run(command, {"BENCH_DSN": self.rig.replica}, self.rig.core)
        said: dict[str, float] = json.loads(printed)
        return said

    # Imports

    @cached_property
    def _lines(self) -> Path:
        file = self.rig.data / "import.ndjson"
        self.rig.generate(self.rig.scale.import_rows, 7, file)
        return file

    @cached_property
    def _rows(self) -> Path:
        file = self.rig.data / "copy.tsv"
        with self._lines.open("rb") as lines, file.open("w") as rows:
            for line in lines:
                row = read(line.rstrip())
                assert isinstance(row, Row)
                rows.write(f"{row.text}\n")
        return file

    def load(self) -> Sample:
        """`verifier ledger import`, from its start to its end."""
        return self._loaded(python("-m", "verifier", "ledger", "import", str(self._lines)))

    def copy(self) -> Sample:
        """COPY of the same rows, likewise."""
        return self._loaded(python("-m", "bench.peers.copy", str(self._rows)))

    def _loaded(self, command: list[str]) -> Sample:
        rig, rows = self.rig, self.rig.scale.import_rows
        rig.empty_database(IMPORT)
        rig.execute(IMPORT, "CHECKPOINT")
        rig.caught_up()
        begin = perf_counter()
        processes.run(command, rig.import_environment(IMPORT), rig.core)
        seconds = perf_counter() - begin
        held = rig.execute(IMPORT, "SELECT count(*) FROM invoice")[0][0][0]
        if held != rows:
            raise RigError(f"{held} of {rows} rows were loaded by {' '.join(command)}")
        rig.execute("postgres", f"DROP DATABASE {IMPORT} WITH (FORCE)")
        return Sample(rows / seconds, f"{rows / seconds:,.0f} rows/s")

    # Processes

    def memory(self) -> Sample:
        """Bytes for each entry of a large cache."""
        command = python("-m", "bench.memory", str(self.rig.scale.entries))
        size = json.loads(processes.run(command, {}, self.rig.core))["bytes"]
        return Sample(size, f"{size:.0f} bytes at {self.rig.scale.entries:,} entries")

    def start(self) -> Sample:
        """A worker's start, until it is ready."""
        return self._seconds(self._start)

    def imports(self) -> Sample:
        """What it cannot do without."""
        return self._seconds(self._imports)

    def _seconds(self, once: Callable[[], float]) -> Sample:
        seconds = median(once() for _ in range(STARTS))
        return Sample(seconds, f"{seconds * 1e3:.0f} ms")

    def _start(self) -> float:
        """A worker, until it says that it is ready."""
        rig = self.rig
        news, theirs = os.pipe()
        # As a supervisor gives it one; what it reports is not read.
        ours, numbers = socket.socketpair()
        listening = socket.create_server(("127.0.0.1", 0))
        fds = (listening.fileno(), theirs, numbers.fileno())
        names = ("--listen-fd", "--ready-fd", "--numbers-fd")
        arguments = ["--host", "127.0.0.1"]
        arguments += [text for each in zip(names, map(str, fds), strict=True) for text in each]
        command = python("-m", "verifier.cli.worker", *arguments, "--parent", str(os.getpid()))
        environ = {
            "VERIFIER_PRIMARY_DSN": rig.primary(rig.name),
            "VERIFIER_REPLICA_DSNS": rig.replica,
            "VERIFIER_LOG_LEVEL": "error",
            "VERIFIER_AUTH": "off",
        }
        begin = perf_counter()
        with (
            ours,
            subprocess.Popen(
                processes.pinned(rig.core, command),
                cwd=ROOT,
                env={**os.environ, **environ},
                pass_fds=fds,
            ) as worker,
        ):
            os.close(theirs)
            numbers.close()
            listening.close()
            try:
                select.select([news], (), (), processes.READY_SECONDS)
                seconds = perf_counter() - begin
                if os.read(news, len(READY)) != READY:
                    raise RigError("the worker ended before it was ready")
            finally:
                os.close(news)
                worker.send_signal(signal.SIGTERM)
        return seconds

    def _imports(self) -> float:
        begin = perf_counter()
        processes.run(python("-c", "import aiohttp, asyncpg"), {}, self.rig.core)
        return perf_counter() - begin
