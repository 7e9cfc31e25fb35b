"""Any bytes at a running service: it answers as documented, goes on, keeps nothing, logs nothing.

``make fuzz`` does it a million times; SEED, FIRST and INPUTS choose which inputs.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import aiohttp

from tests.e2e.process import Process, serving
from tests.e2e.support import NDJSON
from tests.fuzz import logs, samples
from tests.fuzz.answers import Documented
from tests.fuzz.driver import Fuzzer
from tests.fuzz.inputs import SETTINGS
from tests.support import Database

SEED = int(os.environ.get("SEED", "1"))
FIRST = int(os.environ.get("FIRST", "0"))
INPUTS = int(os.environ.get("INPUTS", "3000"))

# After these the caches are full, all code has run, and memory is what it stays.
WARM = 20_000

# Bytes by which memory may differ then: the largest answers, and pages that the allocator keeps.
SPARE = 48 * 2**20

# Connections to databases that come and go.
SPARE_DESCRIPTORS = 8


def descriptors(process: Process) -> int:
    """How many files and sockets a process has open."""
    return len(os.listdir(f"/proc/{process.pid}/fd"))


async def at_rest(process: Process, most: int) -> int:
    """The descriptors that are open once the clients' are closed, or after two seconds."""
    for _ in range(200):
        if descriptors(process) <= most:
            break
        await asyncio.sleep(0.01)
    return descriptors(process)


async def prepared(process: Process) -> Documented:
    """Feed the ledger of the samples; what the service says of itself."""
    async with aiohttp.ClientSession(process.url) as session:
        body = b"\n".join(samples.lines())
        async with session.post("/v1/ledger/invoices", data=body, headers=NDJSON) as response:
            assert response.status == 200, await response.text()
        async with session.get("/openapi.json") as response:
            return Documented(await response.json())


async def test_any_input_is_answered_as_documented(
    database: Database, tmp_path: Path, summary: list[str]
) -> None:
    """No 5xx but an honest `unavailable`, no hang, no leak; and nothing of it is in the log."""
    path = tmp_path / "log"
    settings = SETTINGS | {
        # Clients in one process share its time with the service; that is no overload.
        "standing_delay": 10,
        # Small, so that they are full early, and memory stays the same from there on.
        "cache_entries": 2_000,
        "absence_entries": 2_000,
        "known_heads": 500,
        # Each line that can be written is.
        "log_level": "debug",
        "refusal_lines": 10_000_000,
    }
    with path.open("wb") as log:
        async with serving(database, log=log, **settings) as process:
            fuzzer = Fuzzer(process.port, SEED, await prepared(process))
            idle = descriptors(process)
            warm = min(WARM, INPUTS // 2)
            started = time.monotonic()
            await fuzzer.run(FIRST, warm)
            resident, files = process.resident(), await at_rest(process, idle)
            await fuzzer.run(FIRST + warm, INPUTS - warm)
            seconds = time.monotonic() - started
            grown = process.resident() - resident
            open_now = await at_rest(process, files)
    lines = path.read_bytes().splitlines()
    sorts = ", ".join(f"{count:,} {sort}" for sort, count in fuzzer.sent.most_common())
    summary += [
        f"SEED={SEED}: {INPUTS:,} inputs from {FIRST:,} on in {seconds:,.0f} s: {sorts}",
        f"memory {resident / 2**20:.0f} MiB after {warm:,} inputs, {grown / 2**20:+.1f} at the end",
        f"descriptors {files} and {open_now}; lines logged {len(lines):,}",
        f"answers {fuzzer.answers.total():,}:",
        *(f"  {count:>9,}  {what}" for what, count in sorted(fuzzer.answers.items())),
    ]
    assert logs.faults(lines) == []
    assert grown < SPARE
    assert open_now <= files + SPARE_DESCRIPTORS
