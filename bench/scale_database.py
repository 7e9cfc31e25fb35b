"""PostgreSQL's share: what it spends on a question that memory cannot answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median

import msgspec

from bench import load
from bench.measure import BATCH, batches, saturated
from bench.rig import COLD, Rig
from bench.scale_common import (
    Sample,
    Section,
    metrics,
    on_core,
    on_cores,
    server_processes,
    spread,
    turns,
    values,
)
from loadtests.processes import Server

_KEYS = "verifier_query_keys"


def database(rig: Rig) -> Section:
    """CPU of the replica's processes, of the primary's and of the worker for each question."""
    bodies = [msgspec.json.encode(each) for each in rig.questions(3, COLD)]
    file = rig.file("scale-cold.ndjson", bodies)
    server = rig.uncached()
    measures: dict[str, Callable[[], Sample]] = {
        "single": partial(_measured, rig, server, partial(_singles, rig, server, file)),
        "batch": partial(_measured, rig, server, partial(_batches, rig, server, batches(bodies))),
    }
    # What a connection learns of the catalogue it learns once.
    for measure in measures.values():
        measure()
    return _section(turns(measures, rig.scale.rounds))


def _singles(rig: Rig, server: Server, file: Path) -> tuple[int, float]:
    got = saturated(rig, server, file)
    return got.answers, got.seconds


def _batches(rig: Rig, server: Server, requests: list[bytes]) -> tuple[int, float]:
    start = rig.random.randrange(len(requests))
    got = load.closed_loop(
        server.address,
        requests[start:] + requests[:start],
        b'"match":%d' % BATCH,
        seconds=rig.scale.seconds,
        connections=3,
    )
    return got.answers * BATCH, got.seconds


def _measured(rig: Rig, server: Server, ask: Callable[[], tuple[int, float]]) -> Sample:
    before = metrics(server.address)
    replica = server_processes(rig.replica)
    primary = server_processes(rig.primary(rig.name))
    readers, replay = replica.pop("client backend"), replica.pop("startup")
    groups = {
        "readers": readers,
        "replay": replay,
        "rest": [pid for pids in replica.values() for pid in pids],
        "primary": [pid for pids in primary.values() for pid in pids],
    }
    used = {name: on_cores(pids) for name, pids in groups.items()} | {"worker": on_core(server.pid)}
    answers, seconds = ask()
    sample = {name: on_cores(pids) - used[name] for name, pids in groups.items()}
    sample["worker"] = on_core(server.pid) - used["worker"]
    after = metrics(server.address)
    queries = after[f"{_KEYS}_count"] - before[f"{_KEYS}_count"]
    keys = after[f"{_KEYS}_sum"] - before[f"{_KEYS}_sum"]
    return {f"{name}_us": cpu / answers * 1e6 for name, cpu in sample.items()} | {
        "rate": answers / seconds,
        "keys_a_query": keys / queries,
        "asked_share": keys / answers,
    }


def _section(samples: Mapping[str, list[Sample]]) -> Section:
    rows = [["questions", "a second", "keys a query", "replica: look-ups", "replica: replay"]]
    rows[0] += ["replica: other processes", "primary", "worker", "replica's part of all CPU"]
    for name, each in samples.items():
        parts = [
            (one["readers_us"] + one["replay_us"] + one["rest_us"])
            / sum(value for key, value in one.items() if key.endswith("_us"))
            for one in each
        ]
        rows.append(
            [
                f"{name}, uncached",
                spread(values(each, "rate")),
                f"{median(values(each, 'keys_a_query')):.1f}",
                f"{spread(values(each, 'readers_us'))} µs",
                *(f"{median(values(each, key)):.2f} µs" for key in ("replay_us", "rest_us")),
                f"{median(values(each, 'primary_us')):.2f} µs",
                f"{spread(values(each, 'worker_us'))} µs",
                f"{median(parts):.0%}",
            ]
        )
    note = (
        f"CPU for each question, from /proc, probes of both databases included. A batch has "
        f"{BATCH:,} questions. Under load keys wait for company, so a query carries several."
    )
    return Section("PostgreSQL's share", rows, note, dict(samples))
