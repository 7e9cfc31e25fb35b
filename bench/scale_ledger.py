"""How the cost of a look-up grows with the ledger: one server, filled step by step.

The rows come by COPY through the primary key, so that the index has grown as it does in service.
Keys are drawn uniformly over all rows: memory of the database helps as little as it can.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import cycle, islice, pairwise
from pathlib import Path
from statistics import median
from time import perf_counter

import asyncpg
import msgspec

from bench.rig import SEED
from bench.scale_common import Sample, Section, digits, on_core, percent, spread, values
from loadtests.processes import RigError, python
from verifier.config import Config, Databases
from verifier.database.connections import open_reader
from verifier.database.migrate import migrate
from verifier.embedded import Cluster
from verifier.invoice.identity import key_of
from verifier.invoice.verdict import SHANGHAI
from verifier.ledger.lookup.invoices import LOOK_UP, asked
from verifier.synthetic.ledger import Ledger

# Generators side by side: with PostgreSQL's own processes they keep two cores busy.
FILLERS = 3
# Distinct keys: more pages than shared buffers hold, where the ledger has more.
KEYS = 600_000
TOGETHER = Config().loading.max_batch
# What a row takes on disk with its index, and the log that it leaves behind for a while.
ROW_BYTES, LOG_BYTES = 500, 6 << 30

_SIZES = """
SELECT pg_table_size('invoice') AS table, pg_relation_size('invoice_pkey') AS index,
    (SELECT level + 1 FROM bt_metap('invoice_pkey')) AS height,
    (SELECT avg_leaf_density FROM pgstatindex('invoice_pkey')) AS density,
    pg_size_bytes(current_setting('shared_buffers')) AS buffers
"""
_HITS = """
SELECT heap_blks_hit + idx_blks_hit AS hit, heap_blks_read + idx_blks_read AS read
FROM pg_statio_user_tables WHERE relname = 'invoice'
"""


class Step(msgspec.Struct):
    """The ledger at one size."""

    rows: int
    fill_rate: float
    log_bytes: float  # for each row that was added
    sizes: dict[str, float]
    samples: dict[str, list[Sample]]


def measure(data: Path, sizes: Sequence[int], rounds: int, seconds: float) -> Section:
    """Fill a server of its own to each size and look keys up; nothing of it is kept."""
    folder = data / "growth"
    shutil.rmtree(folder, ignore_errors=True)
    free = shutil.disk_usage(data).free
    possible = [size for size in sorted(sizes) if size * ROW_BYTES + LOG_BYTES < free]
    if not possible:
        raise RigError(
            f"{free / 1e9:.0f} GB are free: too little for a ledger of {min(sizes)} rows"
        )
    try:
        with asyncio.Runner() as runner:
            steps = runner.run(_steps(folder, possible, rounds, seconds))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _section(steps, [size for size in sizes if size not in possible])


async def _steps(folder: Path, sizes: list[int], rounds: int, seconds: float) -> list[Step]:
    # Cleaned up below, when nothing is measured.
    settings = {"autovacuum": "off", "max_wal_size": "4GB"}
    async with Cluster(folder, replicas=0, settings=settings) as cluster:
        dsn = cluster.primary.dsn
        await migrate(dsn)
        day = datetime.now(SHANGHAI).date()
        ledger = Ledger(sizes[-1], SEED, day)
        connection = await asyncpg.connect(dsn)
        for name in ("pageinspect", "pgstattuple", "pg_prewarm"):
            await connection.execute(f"CREATE EXTENSION {name}")
        # What follows is not about the feed, and nobody follows it.
        await connection.execute("ALTER TABLE invoice DISABLE TRIGGER USER")
        steps, held = [], 0
        for size in sizes:
            print(f"  filling from {held:,} to {size:,} rows", flush=True)
            before, begin = await _position(connection), perf_counter()
            await asyncio.to_thread(_fill, ledger, held, size, dsn)
            rate = (size - held) / (perf_counter() - begin)
            log = (await _position(connection) - before) / (size - held)
            print(f"  {rate:,.0f} rows/s, {log:,.0f} bytes of log a row", flush=True)
            await connection.execute("VACUUM (FREEZE, ANALYZE) invoice")
            await connection.execute("CHECKPOINT")
            held = size
            told = await connection.fetchrow(_SIZES)
            assert told is not None
            samples = await _look_up(connection, dsn, ledger, size, rounds, seconds)
            steps.append(Step(size, rate, log, dict(told), samples))
        await connection.close()
    return steps


async def _position(connection: asyncpg.Connection) -> int:
    position: int = await connection.fetchval(
        "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
    )
    return position


def _fill(ledger: Ledger, first: int, last: int, dsn: str) -> None:
    """Rows ``first`` to ``last``, by several processes."""
    ends = [first + (last - first) * part // FILLERS for part in range(FILLERS + 1)]
    fillers = [
        subprocess.Popen(
            [
                *python("-m", "bench.scale_fill", str(ledger.rows), str(ledger.seed)),
                *(ledger.until.isoformat(), str(begin), str(end)),
            ],
            cwd=Path(__file__).parent.parent,
            env={"BENCH_DSN": dsn, "PATH": ""},
        )
        for begin, end in pairwise(ends)
    ]
    codes = [filler.wait() for filler in fillers]
    if any(codes):
        raise RigError(f"filling the ledger failed: {codes}")


async def _look_up(
    admin: asyncpg.Connection, dsn: str, ledger: Ledger, size: int, rounds: int, seconds: float
) -> dict[str, list[Sample]]:
    """Singles and batches in turns, over the statement and the connection that look-ups use."""
    drawn = random.Random(size)
    keys = []
    for row in drawn.sample(range(size), min(KEYS, size)):
        invoice = ledger.invoice(row)
        keys.append(key_of(invoice.code, invoice.number))
    await admin.execute("SELECT pg_prewarm('invoice'), pg_prewarm('invoice_pkey')")
    reader = await open_reader(dsn, Databases())
    try:
        statement = await reader.prepare(LOOK_UP)
        samples: dict[str, list[Sample]] = {"single": [], "batch": []}
        source = cycle(keys)
        # What is in shared buffers then is what uniform look-ups keep there.
        await _timed(reader, statement, source, TOGETHER, 2 * seconds)
        for number in range(rounds):
            names = ("single", "batch") if number % 2 == 0 else ("batch", "single")
            for name in names:
                together = 1 if name == "single" else TOGETHER
                before = await admin.fetchrow(_HITS)
                sample = await _timed(reader, statement, source, together, seconds)
                await reader.execute("SELECT pg_stat_force_next_flush()")
                await reader.execute("SELECT 1")
                after = await admin.fetchrow(_HITS)
                assert before is not None
                assert after is not None
                hit, read = after["hit"] - before["hit"], after["read"] - before["read"]
                sample["hit_ratio"] = hit / (hit + read)
                some = list(islice(source, together))
                sample["buffers"] = await _buffers(admin, some) / together
                samples[name].append(sample)
                told = ", ".join(f"{key} {value:,.4g}" for key, value in sample.items())
                print(f"  {size:,} {name}: {told}", flush=True)
    finally:
        await reader.close()
    return samples


async def _timed(
    reader: asyncpg.Connection,
    statement: asyncpg.prepared_stmt.PreparedStatement,
    keys: Iterator[str],
    together: int,
    seconds: float,
) -> Sample:
    """CPU of the backend for each key, in µs."""
    pid = reader.get_server_pid()
    used, count, begin = on_core(pid), 0, perf_counter()
    while (taken := perf_counter() - begin) < seconds:
        block = list(islice(keys, together))
        rows = await statement.fetch(asked(block))
        if len(rows) != len(block):
            raise RigError(f"{len(rows)} of {len(block)} keys were found")
        count += len(block)
    return {"cpu_us": (on_core(pid) - used) / count * 1e6, "rate": count / taken}


async def _buffers(admin: asyncpg.Connection, keys: list[str]) -> float:
    """Pages that one look-up touches, as EXPLAIN (ANALYZE, BUFFERS) says."""
    async with admin.transaction():
        # A generic plan, as the readers have it.
        await admin.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await admin.execute(f"PREPARE look_up AS {LOOK_UP}")
        explain = "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) EXECUTE look_up"
        told = await admin.fetchval(f"{explain} ('{asked(keys)}')")
        await admin.execute("DEALLOCATE look_up")
    plan = json.loads(told)[0]["Plan"]
    touched: int = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return touched


def _section(steps: Sequence[Step], left_out: Sequence[int]) -> Section:
    head = ["rows", "table, index: bytes a row", "index levels", "single: CPU µs, pages"]
    head += [f"{TOGETHER} keys a query: CPU µs, pages a key", "found in shared buffers"]
    head += ["log a row added", "COPY, rows/s"]
    rows = [head]
    samples: dict[str, list[Sample]] = {}
    for step in steps:
        single, batch = step.samples["single"], step.samples["batch"]
        sizes = step.sizes
        rows.append(
            [
                f"{step.rows:,}",
                f"{sizes['table'] / step.rows:.0f}, {sizes['index'] / step.rows:.0f}",
                f"{sizes['height']:.0f}",
                f"{spread(values(single, 'cpu_us'))}, {median(values(single, 'buffers')):.1f}",
                f"{spread(values(batch, 'cpu_us'))}, {median(values(batch, 'buffers')):.1f}",
                percent(median(values(batch, "hit_ratio"))),
                f"{step.log_bytes:,.0f}",
                f"{step.fill_rate:,.0f}",
            ]
        )
        known = {
            "rows": float(step.rows),
            "log_bytes": step.log_bytes,
            "fill_rate": step.fill_rate,
            **{key: float(value) for key, value in sizes.items()},
        }
        samples[f"{step.rows} ledger"] = [known]
        samples |= {f"{step.rows} {name}": each for name, each in step.samples.items()}
    density = steps[-1].sizes["density"]
    note = (
        f"One server with {digits(steps[-1].sizes['buffers'] / 2**20)} MiB of shared buffers; what "
        "they lack comes from the page cache of the system, not from the disk. CPU is the "
        "backend's, by /proc; pages by EXPLAIN (ANALYZE, BUFFERS). The leaf pages of the largest "
        f"index were {density:.0f} % full; triggers were off while it was filled."
    )
    if left_out:
        told = ", ".join(f"{size:,}" for size in left_out)
        note += f" Not taken for want of disk: {told} rows."
    return Section("How a look-up grows with the ledger", rows, note, samples)
