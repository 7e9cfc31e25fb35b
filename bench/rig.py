"""The rig: a ledger under test on a primary and a replica, and the servers that are measured.

The ledger is made once for each size and kept in a folder that git does not see. Questions are
about rows of it that are in scope today, whenever it was made.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import ExitStack
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import asyncpg
import msgspec

from loadtests import processes
from loadtests.processes import Server, python
from verifier.database.migrate import migrate
from verifier.embedded import Cluster
from verifier.errors import MigrationError
from verifier.invoice.fields import oldest_date
from verifier.invoice.identity import key_of
from verifier.invoice.verdict import SHANGHAI
from verifier.synthetic.ledger import Entry, Ledger
from verifier.synthetic.questions import Questions
from verifier.synthetic.shapes import minimal

DATA = Path(__file__).parent.parent / "bench-data"
SEED = 1

T = TypeVar("T")
Given = dict[str, str]

# A cached question is about one of so many invoices; all of them are in memory.
HOT = 20_000
# Distinct uniform keys for the others, of which memory holds under 1 % of the ledger.
COLD = 200_000


class Scale(msgspec.Struct, frozen=True):
    """How much is measured: rows in the ledger, rounds, seconds of each measurement."""

    rows: int
    rounds: int
    seconds: float
    stream_lines: int
    import_rows: int
    entries: int


FULL = Scale(2_000_000, 5, 4.0, 1_000_000, 400_000, 1_000_000)
QUICK = Scale(200_000, 3, 2.0, 200_000, 50_000, 100_000)


class Rig:
    """Everything that measurements need; ``with Rig(scale) as rig`` starts and stops it."""

    def __init__(self, scale: Scale, data: Path = DATA) -> None:
        self.scale = scale
        self.data = data
        self.core, self.other = processes.cores()
        self.random = random.Random(1)
        self._stack = ExitStack()
        self._servers: dict[str, Server] = {}
        self._cluster = Cluster(data / "cluster", replicas=1)
        self._day = datetime.now(SHANGHAI).date()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            # PostgreSQL and the load inherit it.
            before = os.sched_getaffinity(0)
            os.sched_setaffinity(0, {self.other})
            undo.callback(os.sched_setaffinity, 0, before)
            self.data.mkdir(exist_ok=True)
            _await(self._cluster.start())
            undo.callback(lambda: _await(self._cluster.stop()))
            undo.callback(self.stop_servers)
            self.ledger = Ledger(self.scale.rows, SEED, self._until())
            self._warm()
            self._stack = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    # Databases

    @property
    def name(self) -> str:
        """The database of the ledger under test."""
        return f"ledger_{self.scale.rows}"

    def primary(self, database: str) -> str:
        """DSN of a database on the primary."""
        return self._cluster.primary.dsn_for(database)

    @property
    def replica(self) -> str:
        """DSN of the ledger under test where it is read."""
        return self._cluster.replicas[0].dsn_for(self.name)

    def import_environment(self, database: str) -> dict[str, str]:
        """What `verifier ledger import` and bench.peers.copy need."""
        dsn = self.primary(database)
        return {"VERIFIER_PRIMARY_DSN": dsn, "BENCH_DSN": dsn}

    def execute(self, database: str, *statements: str) -> list[list[asyncpg.Record]]:
        """Run statements on the primary, each by itself; their rows."""

        async def work() -> list[list[asyncpg.Record]]:
            connection = await asyncpg.connect(self.primary(database))
            try:
                return [await connection.fetch(statement) for statement in statements]
            finally:
                await connection.close()

        return _await(work())

    def empty_database(self, database: str) -> None:
        """Make a database anew, with the schema and nothing in it."""
        self.execute(
            "postgres",
            f"DROP DATABASE IF EXISTS {database} WITH (FORCE)",
            f"CREATE DATABASE {database}",
        )
        _await(migrate(self.primary(database)))

    def caught_up(self) -> None:
        """Return when the replica shows all that the primary has written."""

        async def work() -> None:
            primary = await asyncpg.connect(self.primary("postgres"))
            replica = await asyncpg.connect(self._cluster.replicas[0].dsn_for("postgres"))
            try:
                # What an aborted transaction wrote last may wait for the WAL writer.
                await primary.fetchval("SELECT pg_logical_emit_message(true, 'flush', '')")
                target = await primary.fetchval("SELECT pg_current_wal_insert_lsn()")
                behind = "SELECT pg_last_wal_replay_lsn() < $1::pg_lsn"
                while await replica.fetchval(behind, target):  # noqa: ASYNC110 - no such event
                    await asyncio.sleep(0.05)
            finally:
                await primary.close()
                await replica.close()

        _await(work())

    def _until(self) -> date:
        """The day of the ledger under test; makes it when it is not there."""
        # It is written last: half a ledger has none.
        rows = self.execute(
            "postgres",
            "SELECT shobj_description(oid, 'pg_database') AS day FROM pg_database "
            f"WHERE datname = '{self.name}'",
        )[0]
        if rows and rows[0]["day"]:
            day = date.fromisoformat(rows[0]["day"])
            # Within a month most of its rows are in scope.
            if 0 <= (self._day - day).days < 31 and self._migrated():
                return day
        self._fill()
        return self._day

    def _migrated(self) -> bool:
        """Bring a kept ledger up to date; False when it was made by an edited migration."""
        try:
            _await(migrate(self.primary(self.name)))
        except MigrationError:
            return False
        self.caught_up()
        return True

    def _warm(self) -> None:
        """Have the replica hold the ledger in memory, so that no question waits for the disk."""
        self.execute(self.name, "CREATE EXTENSION IF NOT EXISTS pg_prewarm")
        self.caught_up()

        async def work() -> None:
            connection = await asyncpg.connect(self.replica)
            await connection.execute("SELECT pg_prewarm('invoice_pkey'), pg_prewarm('invoice')")
            await connection.close()

        _await(work())

    def _fill(self) -> None:
        print(f"making a ledger of {self.scale.rows:,} rows (kept in {self.data.name})", flush=True)
        self.empty_database(self.name)
        file = self.data / "ledger.ndjson"
        try:
            self.generate(self.scale.rows, SEED, file)
            command = python("-m", "verifier", "ledger", "import", str(file))
            processes.run(command, self.import_environment(self.name), self.core)
        finally:
            file.unlink(missing_ok=True)
        self.execute(
            self.name,
            "VACUUM (FREEZE, ANALYZE) invoice",
            "TRUNCATE ledger_change",
            f"COMMENT ON DATABASE {self.name} IS '{self._day.isoformat()}'",
            "CHECKPOINT",
        )
        self.caught_up()

    def generate(self, rows: int, seed: int, file: Path) -> None:
        """Write a synthetic ledger."""
        arguments = ["--rows", str(rows), "--seed", str(seed), "--until", self._day.isoformat()]
        command = python("-m", "verifier", "ledger", "generate", *arguments, "-o", str(file))
        processes.run(command, {}, self.core)

    # Questions

    def _in_scope(self, rows: Iterator[int]) -> Iterator[Entry]:
        oldest = oldest_date(self._day)
        for row in rows:
            invoice = self.ledger.invoice(row)
            # By tomorrow, one more day has gone.
            if invoice.date > oldest:
                yield invoice

    def _uniform(self, seed: int, count: int) -> list[Entry]:
        drawn = random.Random(seed)
        rows = (drawn.randrange(self.scale.rows) for _ in iter(int, 1))
        source = self._in_scope(rows)
        return [next(source) for _ in range(count)]

    def questions(self, seed: int, count: int) -> list[Given]:
        """Minimal questions about rows that are drawn uniformly: all of them match."""
        return [minimal(invoice) for invoice in self._uniform(seed, count)]

    def keys(self, seed: int, count: int) -> list[str]:
        """The keys of the same rows."""
        return [key_of(invoice.code, invoice.number) for invoice in self._uniform(seed, count)]

    def mixed(self, count: int) -> list[bytes]:
        """Questions of every shape with every verdict, as `verifier ledger questions` asks."""
        return [msgspec.json.encode(each.request) for each in Questions(self.ledger, count, 1)]

    def file(self, name: str, content: Sequence[bytes]) -> Path:
        """Keep lines in a file of the data folder."""
        path = self.data / name
        path.write_bytes(b"\n".join(content) + b"\n")
        return path

    # Servers

    def serve(self, name: str, command: Sequence[str], environ: dict[str, str]) -> Server:
        """A server that runs until the end, started when it is first wanted."""
        server = self._servers.get(name)
        if server is None:
            log = self.data / f"{name}.log"
            server = self._servers[name] = Server(command, environ, self.core, log)
        return server

    def stop_servers(self) -> None:
        """End all of them."""
        while self._servers:
            self._servers.popitem()[1].stop()

    def service(self, name: str, **settings: str) -> Server:
        """The service over the ledger under test, with one worker."""
        environ = {
            "VERIFIER_PRIMARY_DSN": self.primary(self.name),
            "VERIFIER_REPLICA_DSNS": self.replica,
            **settings,
        }
        return self.serve(name, python("-m", "verifier", "serve", "--port", "0"), environ)

    def cached(self) -> Server:
        """The service, with room for all hot invoices."""
        return self.service("cached")

    def uncached(self) -> Server:
        """The service with memory for under 1 % of the ledger."""
        entries = max(2, self.scale.rows // 200)
        return self.service("uncached", VERIFIER_CACHE_ENTRIES=str(entries))

    def peer(self, name: str, *arguments: str) -> Server:
        """One of bench.peers."""
        command = python("-m", f"bench.peers.{name}", *arguments)
        return self.serve(name, command, {"BENCH_DSN": self.replica})


def _await(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner() as runner:
        return runner.run(work)
