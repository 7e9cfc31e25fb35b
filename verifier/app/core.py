"""Core: questions are answered and the ledger is fed, without a web server."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from verifier.app.access import Access
from verifier.clocks import Clocks
from verifier.config import Config
from verifier.engine.admission import Admission
from verifier.engine.concurrency import Concurrency
from verifier.engine.freshness import Freshness
from verifier.engine.lanes import Limits
from verifier.engine.loader import Loader
from verifier.engine.memory import Memory, Sizes
from verifier.engine.verifier import Verifier
from verifier.errors import Unavailable
from verifier.ledger.ingest.writer import Writer
from verifier.ledger.lookup.fleet import Fleet
from verifier.ledger.lookup.lookup import Lookup
from verifier.metrics import Metrics

log = structlog.get_logger()

_LOOP_LAG_INTERVAL = 0.1


class Core:
    """Databases, memory, loader and verifier of one process; databases are reached at the start."""

    def __init__(self, config: Config, clocks: Clocks, metrics: Metrics) -> None:
        self.metrics = metrics
        self.access = access = Access(config, clocks, metrics)
        self._change_log = config.change_log
        freshness = Freshness(config.staleness.max_staleness, _brownout(config))
        memory = Memory(_sizes(config), clocks.steady, metrics)
        self.fleet = Fleet(
            config.databases,
            config.change_log,
            metrics,
            clocks,
            memory,
            freshness.oldest,
            access.beside,
        )
        access.exchange_with(self.fleet.timelines)
        lookup = Lookup(self.fleet, config.databases, metrics, clocks.steady)
        self.writer = Writer(
            config.databases, config.ingest, config.requests.max_line, self.fleet.timelines
        )
        fetch_many = memory.keeping(lookup.fetch_many)
        overload, slots = config.overload, self.fleet.slots
        self.admission = admission = Admission(
            overload.standing_delay, overload.standing_interval, clocks.steady
        )
        concurrency = Concurrency(slots, clocks.steady, lambda: admission.late)
        limits = _limits(config, slots)
        self._loader = Loader(fetch_many, limits, clocks.steady, metrics, concurrency)
        self.verifier = Verifier(
            self._loader, lookup.fetch_at, memory, freshness, clocks, access.tried
        )
        self._tasks: list[asyncio.Task[None]] = []
        metrics.loader_waiting.labels("single").set_function(lambda: self._loader.waiting[0])
        metrics.loader_waiting.labels("bulk").set_function(lambda: self._loader.waiting[1])
        metrics.loader_reading.set_function(lambda: self._loader.reading)
        metrics.loader_limit.set_function(lambda: concurrency.limit)
        metrics.trusted.set_function(self.fleet.trusted)

    async def start(self) -> None:
        """Return when a database can answer, or after a bound: readiness tells."""
        await self.fleet.start()
        await self.access.start()
        self.admission.start(asyncio.get_running_loop())
        self._tasks = [asyncio.create_task(self._prune()), asyncio.create_task(self._watch_loop())]

    async def close(self) -> None:
        """Refuse what waits, and drop all connections."""
        self.admission.stop()
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self._loader.close()
        await self.access.close()
        await self.writer.close()
        await self.fleet.close()

    async def _prune(self) -> None:
        """Keep the change log short, for as long as the process runs."""
        while True:
            await asyncio.sleep(self._change_log.prune_interval)
            try:
                pruned = await self.writer.prune(self._change_log.changes_kept)
            except Unavailable as error:
                log.warning("change log not pruned", reason=error.reason)
            else:
                log.info("change log pruned", rows=pruned)

    async def _watch_loop(self) -> None:
        """Measure how late the event loop runs a timer, for as long as it runs."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LOOP_LAG_INTERVAL
            await asyncio.sleep(_LOOP_LAG_INTERVAL)
            self.metrics.loop_lag.observe(max(0.0, loop.time() - due))


def _limits(config: Config, slots: int) -> Limits:
    loading = config.loading
    return Limits(
        slots=slots,
        max_batch=loading.max_batch,
        waiting_singles=loading.waiting_singles,
        waiting_bulk=loading.waiting_bulk,
        max_wait=loading.max_wait,
    )


def _sizes(config: Config) -> Sizes:
    memory, databases = config.memory, config.databases
    return Sizes(
        cache_entries=memory.cache_entries,
        absence_entries=memory.absence_entries,
        absence_seconds=memory.absence_seconds,
        # What a read may take, with its second try, and as much again.
        longest_read=2 * (databases.query_timeout + databases.probe_interval),
    )


def _brownout(config: Config) -> float:
    staleness = config.staleness
    return staleness.brownout_seconds if staleness.brownout == "on" else 0.0
