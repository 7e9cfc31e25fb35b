"""What the size of memory does when some invoices are asked about more than others (Zipf)."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from pathlib import Path
from statistics import median

import msgspec

from bench.client import ask_all, post
from bench.measure import saturated
from bench.rig import Rig
from bench.samples import NOON, findings
from bench.scale_common import Sample, Section, metrics, on_core, percent, spread, turns, values
from bench.scale_front import environment
from loadtests.processes import Server, python
from verifier.engine.freshness import Terms
from verifier.engine.memory import Memory, Sizes
from verifier.metrics import Metrics
from verifier.synthetic.popularity import Popularity

HOT = 200_000  # invoices that are asked about at all
SHARES = (0.01, 0.05, 0.20)  # of which memory has room for so many
EXPONENTS = (Decimal("1.0"), Decimal("0.8"))
SERVED = EXPONENTS[0]  # the one that the service is asked with
ASKED = 200_000  # questions in the file
DRAWS = 400_000  # of a simulated round, after as many that fill the cache

HIT, MISS = (f'verifier_cache_lookups_total{{outcome="{each}"}}' for each in ("hit", "miss"))


def memory(rig: Rig) -> Section:
    """Hit ratios by simulation; hit ratio, rate and CPU of the service at the same capacities."""
    simulated: dict[str, Callable[[], Sample]] = {
        f"simulated {exponent} {share}": partial(
            simulate, exponent, HOT, round(HOT * share), DRAWS, rig.random
        )
        for exponent in EXPONENTS
        for share in SHARES
    }
    samples = turns(simulated, rig.scale.rounds)
    file, bodies = _questions(rig)
    measures: dict[str, Callable[[], Sample]] = {}
    for share in SHARES:
        settings = {"VERIFIER_CACHE_ENTRIES": str(round(HOT * share))}
        command = python("-m", "verifier", "serve", "--port", "0")
        server = rig.serve(f"memory {share}", command, environment(rig, **settings))
        ask_all(server.address, [post("/v1/verify", body) for body in bodies[: ASKED // 2]])
        measures[f"served {share}"] = partial(_served, rig, server, file)
    samples |= turns(measures, rig.scale.rounds)
    rig.stop_servers()
    return _section(samples)


def simulate(
    exponent: Decimal, hot: int, capacity: int, draws: int, source: random.Random
) -> Sample:
    """The hit ratio of verifier/engine/memory.py, and what one that knew the future would reach."""
    popularity = Popularity(hot, exponent)
    memory = Memory(Sizes(capacity, 1, 0.0, 1.0), lambda: NOON, Metrics())
    finding = next(iter(findings().values()))
    terms = Terms(NOON, NOON)
    hits = 0
    for number in range(2 * draws):
        key = str(popularity.row(source.getrandbits(64), source.getrandbits(32)))
        if memory.recall((key,), terms)[0][0] is None:
            memory.remember({key: finding}, NOON)
        elif number >= draws:
            hits += 1
    weights = [rank ** -float(exponent) for rank in range(1, hot + 1)]
    return {"hit_ratio": hits / draws, "best": sum(weights[:capacity]) / sum(weights)}


def _questions(rig: Rig) -> tuple[Path, list[bytes]]:
    """Questions about hot invoices as they are popular, and the file of them."""
    hot = [msgspec.json.encode(each) for each in rig.questions(5, HOT)]
    popularity, drawn = Popularity(HOT, SERVED), random.Random(6)
    bodies = [
        hot[popularity.row(drawn.getrandbits(64), drawn.getrandbits(32))] for _ in range(ASKED)
    ]
    return rig.file("scale-zipf.ndjson", bodies), bodies


def _served(rig: Rig, server: Server, file: Path) -> Sample:
    before, used = metrics(server.address), on_core(server.pid)
    got = saturated(rig, server, file)
    used = on_core(server.pid) - used
    after = metrics(server.address)
    hits, misses = (after[name] - before[name] for name in (HIT, MISS))
    return {
        "hit_ratio": hits / (hits + misses),
        "rate": got.rate,
        "cpu_us": used / got.answers * 1e6,
    }


def _section(samples: Mapping[str, list[Sample]]) -> Section:
    rows = [["room for", *(f"simulated, exponent {exponent}" for exponent in EXPONENTS)]]
    rows[0] += [f"service, exponent {SERVED}: hits", "a second", "worker CPU a question"]
    for share in SHARES:
        row = [f"{share:.0%} of the hot set ({HOT * share:,.0f} invoices)"]
        for exponent in EXPONENTS:
            each = samples[f"simulated {exponent} {share}"]
            best = percent(median(values(each, "best")))
            row.append(f"{spread(values(each, 'hit_ratio'), percent)}; best possible {best}")
        served = samples[f"served {share}"]
        row += [
            spread(values(served, "hit_ratio"), percent),
            spread(values(served, "rate")),
            f"{spread(values(served, 'cpu_us'))} µs",
        ]
        rows.append(row)
    note = (
        f"{HOT:,} invoices are asked about, the one of rank *k* in proportion to *k* to the power "
        "of minus the exponent. Simulated means draws through `verifier/engine/memory.py` alone; "
        "best possible is the share of the questions that goes to the invoices that fit. The "
        "service is asked single questions on one core."
    )
    return Section("Size of memory", rows, note, dict(samples))
