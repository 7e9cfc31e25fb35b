"""COPY alone: ``python -m bench.peers.copy FILE``.

Loads rows that were laid out for COPY beforehand into the same table, with its indexes, checks and
triggers.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import asyncpg
import uvloop

from verifier.wire.lines import COLUMNS


async def main() -> None:
    """Load the file in one transaction."""
    connection = await asyncpg.connect(os.environ["BENCH_DSN"])
    await connection.copy_to_table(
        "invoice", source=Path(sys.argv[1]), columns=COLUMNS, schema_name="public"
    )
    await connection.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
