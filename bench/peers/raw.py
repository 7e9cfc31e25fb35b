"""asyncpg alone: ``python -m bench.peers.raw KEYS CONNECTIONS SIZE SECONDS``.

Fetches the keys of a file by `= ANY`, SIZE at a time over CONNECTIONS dedicated connections with
prepared statements, and prints rows, seconds and seconds of CPU.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from time import perf_counter, process_time

import asyncpg
import uvloop

from bench.peers.judging import SELECT_MANY


async def fetch(batches: Iterator[list[str]], until: float) -> int:
    """Rows that one connection has fetched by the moment ``until``."""
    connection = await asyncpg.connect(
        os.environ["BENCH_DSN"],
        server_settings={"plan_cache_mode": "force_generic_plan", "jit": "off"},
    )
    statement = await connection.prepare(SELECT_MANY)
    rows = 0
    while perf_counter() < until:
        rows += len(await statement.fetch(next(batches)))
    await connection.close()
    return rows


async def main(keys: list[str], connections: int, step: int, seconds: float) -> None:
    """Print the figures as JSON; the first half second is not counted."""
    batches = cycle([keys[at : at + step] for at in range(0, len(keys), step)])
    gc.collect()
    gc.freeze()

    async def all_until(moment: float) -> int:
        return sum(await asyncio.gather(*(fetch(batches, moment) for _ in range(connections))))

    await all_until(perf_counter() + 0.5)
    begin, used = perf_counter(), process_time()
    rows = await all_until(begin + seconds)
    told = {"rows": rows, "seconds": perf_counter() - begin, "cpu": process_time() - used}
    print(json.dumps(told))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(
            main(
                Path(sys.argv[1]).read_text().split(),
                int(sys.argv[2]),
                int(sys.argv[3]),
                float(sys.argv[4]),
            )
        )
