"""What the polls of many workers cost a replica.

``python -m bench.feed_polls POLLERS SECONDS`` probes and follows the server of BENCH_DSN over so
many connections, as ``ledger/lookup/watch.py`` does, and prints what the server spent on it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from statistics import median
from time import perf_counter, process_time, time

import asyncpg
import uvloop

from bench.feed import CHANGES, Feed
from bench.rig import Rig
from bench.scale_common import (
    Sample,
    Section,
    on_cores,
    percent,
    server_processes,
    spread,
    turns,
    values,
)
from loadtests.processes import RigError, python, run
from verifier.config import ChangeLog, Databases
from verifier.database.connections import open_reader
from verifier.ledger.changes.follower import Follower
from verifier.ledger.lookup.probes import Prober

POLLERS = (1, 60)
SECONDS = 15.0


class Heard:
    """Changes that were heard; nothing is remembered of them."""

    def __init__(self) -> None:
        self.applied = 0
        self.keys = 0

    async def apply(self, keys: Sequence[str], *, everything: bool) -> None:
        """Count them."""
        self.applied += 1
        self.keys += len(keys)


async def poll(
    connection: asyncpg.Connection, heard: Heard, first: float, interval: float, until: float
) -> int:
    """Poll until a moment; how often."""
    follower = await Follower.begin(connection, Databases().query_timeout, ChangeLog(), time())
    prober = await Prober.over(connection)
    polls, due = 0, first
    while due < until:
        await asyncio.sleep(max(0.0, due - perf_counter()))
        await prober.probe(time())
        await follower.catch_up(heard, time())
        polls += 1
        due += interval
    return polls


async def main(pollers: int, seconds: float) -> None:
    """Print the figures as JSON."""
    config, dsn = Databases(), os.environ["BENCH_DSN"]
    connections = [await open_reader(dsn, config) for _ in range(pollers)]
    pids = [connection.get_server_pid() for connection in connections]
    heard = Heard()
    gc.collect()
    gc.freeze()

    async def everybody(begin: float, until: float) -> int:
        interval = config.probe_interval
        work = (
            poll(each, heard, begin + interval * place / pollers, interval, until)
            for place, each in enumerate(connections)
        )
        return sum(await asyncio.gather(*work))

    # Statements are prepared, and the catalogue is known.
    now = perf_counter()
    await everybody(now, now + 1.0)
    used, own, begin, heard.keys = on_cores(pids), process_time(), perf_counter(), 0
    polls = await everybody(begin, begin + seconds)
    taken = perf_counter() - begin
    told = {
        "polls": polls,
        "due": pollers * seconds / config.probe_interval,
        "seconds": taken,
        "backends": on_cores(pids) - used,
        "own": process_time() - own,
        "heard": heard.keys,
    }
    print(json.dumps(told))
    for connection in connections:
        await connection.close()


def polls(rig: Rig) -> Section:
    """One poller and many, with and without changes, in turns."""
    it = Feed(rig)
    measures: dict[str, Callable[[], Sample]] = {
        f"{pollers} pollers, {'changes' if changes else 'no changes'}": partial(
            _polled, it, pollers, changes=changes
        )
        for pollers in POLLERS
        for changes in (True, False)
    }
    return _section(turns(measures, rig.scale.rounds))


def _polled(it: Feed, pollers: int, *, changes: bool) -> Sample:
    rig = it.rig
    replay = server_processes(rig.replica)["startup"]
    before = on_cores(replay)
    with it.writing() if changes else nullcontext():
        command = python("-m", "bench.feed_polls", str(pollers), str(SECONDS))
        said = json.loads(run(command, {"BENCH_DSN": rig.replica}, rig.core))
    if said["polls"] < 0.95 * said["due"]:
        raise RigError(f"{said['polls']} of {said['due']:.0f} polls were made")
    return {
        "polls": said["polls"] / said["seconds"],
        "server_us": said["backends"] / said["polls"] * 1e6,
        "client_us": said["own"] / said["polls"] * 1e6,
        "core": said["backends"] / said["seconds"],
        "heard": said["heard"] / said["seconds"] / pollers,
        "replay": (on_cores(replay) - before) / said["seconds"],
    }


def _section(samples: Mapping[str, list[Sample]]) -> Section:
    rows = [["workers", "ledger", "polls a second", "keys heard by each a second"]]
    rows[0] += ["replica's CPU a poll", "share of one core of the replica", "poller's CPU a poll"]
    for name, each in samples.items():
        pollers, _, changes = name.partition(" pollers, ")
        rows.append(
            [
                pollers,
                f"{CHANGES:.0f} changes a second" if changes == "changes" else changes,
                f"{median(values(each, 'polls')):.0f}",
                f"{median(values(each, 'heard')):.0f}",
                f"{spread(values(each, 'server_us'))} µs",
                spread(values(each, "core"), percent),
                f"{spread(values(each, 'client_us'))} µs",
            ]
        )
    note = (
        "A poll is a probe (position, watermarks) and a look at the feed: three statements over a "
        f"connection of its own, every {Databases().probe_interval:g} s from each worker. All "
        "pollers are one process here, with the service's own statements; CPU is that of their "
        "backends."
    )
    return Section("Polls of many workers", rows, note, dict(samples))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1]), float(sys.argv[2])))
