"""The engine over a ledger that is held in memory, for hot paths that need an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import cache
from typing import Any

import uvloop

from bench.samples import NOON, findings
from verifier.clocks import Clocks
from verifier.engine.freshness import Freshness
from verifier.engine.lanes import Limits
from verifier.engine.loader import Loader
from verifier.engine.memory import Memory, Sizes
from verifier.engine.verifier import Verifier
from verifier.metrics import Metrics
from verifier.state import Position
from verifier.wire.records import Finding

LIMITS = Limits(slots=3, max_batch=128, waiting_singles=5_000, waiting_bulk=4_000, max_wait=1.0)


@cache
def loop() -> asyncio.AbstractEventLoop:
    """The loop in which all of them run."""
    return uvloop.new_event_loop()


def repeated(work: Callable[[], Coroutine[Any, Any, object]]) -> Callable[[], object]:
    """The same as something that can be called."""
    run = loop().run_until_complete
    return lambda: run(work())


async def fetch_many(keys: Sequence[str], _deadline: float) -> Mapping[str, Finding]:
    """A read that ends in the next turn of the loop."""
    await asyncio.sleep(0)
    known = findings()
    return {key: known[key] for key in keys}


async def fetch_at(
    keys: Sequence[str], _position: Position, deadline: float
) -> Mapping[str, Finding]:
    """The same read of a state that is new enough."""
    return await fetch_many(keys, deadline)


def make_loader(metrics: Metrics) -> Loader:
    """A loader over ``fetch_many``."""
    return Loader(fetch_many, LIMITS, lambda: NOON, metrics)


def make_verifier(metrics: Metrics, *, full: bool) -> Verifier:
    """A verifier whose memory holds all sample invoices, or next to nothing."""

    def clock() -> float:
        return NOON

    freshness = Freshness(max_staleness=3600.0)
    sizes = Sizes(
        cache_entries=10_000 if full else 2,
        absence_entries=2,
        absence_seconds=1.0,
        longest_read=2.0,
    )
    memory = Memory(sizes, clock, metrics)
    if full:
        memory.remember(findings(), NOON)
    loader = Loader(memory.keeping(fetch_many), LIMITS, clock, metrics)
    return Verifier(loader, fetch_at, memory, freshness, Clocks(clock, clock))
