"""build(config) -> application: the only wiring. Reads from top to bottom in the order of start."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from secrets import token_hex
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

from verifier.api import routes
from verifier.api.health import Health
from verifier.api.ingest import Feeds
from verifier.api.server.body import Bodies
from verifier.api.server.crowd import Crowd
from verifier.api.server.guard import Guard
from verifier.api.server.readers import Readers
from verifier.api.server.refusals import Lines, Refusals
from verifier.api.server.respond import Responder
from verifier.api.server.server import Runner, affordable_connections
from verifier.api.server.shortcut import shorten
from verifier.api.verify.handlers import Handlers
from verifier.api.verify.stream import Streams
from verifier.clocks import Clocks, system_clocks
from verifier.config import Config
from verifier.engine.freshness import Freshness
from verifier.engine.loader import Limits, Loader
from verifier.engine.memory import Memory, Sizes
from verifier.engine.verifier import Verifier
from verifier.errors import ConfigError, Unavailable
from verifier.ledger.ingest.writer import Writer
from verifier.ledger.lookup.lookup import Lookup
from verifier.metrics import Metrics
from verifier.metrics.exposition import Exposition
from verifier.pacing import Turns
from verifier.wire.answers import Encoder
from verifier.wire.tokens import Tokens

log = structlog.get_logger()

LOOP_LAG_INTERVAL = 0.1

# Seconds for which changes are kept for those who follow them, and between prunings.
FEED_KEPT = 3_600.0
PRUNE_INTERVAL = 600.0

HEALTH = web.AppKey("health", Health)
METRICS = web.AppKey("metrics", Metrics)
REFUSALS = web.AppKey("refusals", Refusals)
STREAMS = web.AppKey("streams", Streams)


def build(
    config: Config, clocks: Clocks | None = None, exposition: Exposition | None = None
) -> web.Application:
    """The service as an application; databases are reached when it starts.

    ``clocks`` are those of this machine unless tests pass their own; without an ``exposition``
    it shows its own numbers.
    """
    if HttpRequestParser is HttpRequestParserPy:
        raise ConfigError("aiohttp was installed without its C extensions; expected a wheel")
    clocks = clocks or system_clocks()
    exposition = exposition or Exposition()
    metrics = exposition.metrics
    freshness = Freshness(config.max_staleness, _brownout(config))
    memory = Memory(_sizes(config), clocks.steady, metrics)
    lookup = Lookup(config, metrics, clocks, memory, freshness.oldest)
    writer = Writer(config, lookup.history)
    fetch_many = memory.keeping(lookup.fetch_many)
    loader = Loader(fetch_many, _limits(config, lookup), clocks.steady, metrics)
    verifier = Verifier(loader, lookup.fetch_at, memory, freshness, clocks)
    encoder = Encoder(token_hex(6))
    tokens = Tokens(lookup.secret)
    readers = Readers(config.write_idle, metrics, config.max_unread)
    turns = Turns()
    responder = Responder(clocks.wall, readers, turns, config.write_buffer)
    bodies = Bodies(config.max_receiving, config.kept_from_bulk, config.body_timeout)
    handlers = Handlers(
        verifier, encoder, responder, readers, bodies, turns, tokens, config, metrics
    )
    streams = Streams(verifier, encoder, turns, tokens, readers, config, metrics)
    feeds = Feeds(writer, bodies, tokens, config, metrics, clocks.wall)
    health = Health(exposition, lookup.serving, lookup.trusted, lookup.status)
    _observe(metrics, loader, lookup)

    app = web.Application(client_max_size=config.max_batch_body)
    app[HEALTH], app[STREAMS] = health, streams
    app[REFUSALS] = Refusals(metrics.http_errors.add, Lines(config.refusal_lines, clocks.steady))
    app[METRICS] = metrics
    guard = Guard(config, metrics)
    table = routes.table(handlers, streams, feeds, health, guard, readers, metrics)
    routes.add_routes(app, readers, metrics, table)

    async def databases(_: web.Application) -> AsyncIterator[None]:
        await lookup.start()
        yield
        await loader.close()
        await writer.close()
        await lookup.close()

    async def pruning(_: web.Application) -> AsyncIterator[None]:
        prune = asyncio.create_task(_prune(writer))
        yield
        await _end(prune)

    async def loop_lag(_: web.Application) -> AsyncIterator[None]:
        watch = asyncio.create_task(_watch_loop(metrics))
        yield
        await _end(watch)

    async def started(_: web.Application) -> AsyncIterator[None]:
        health.started = True
        yield
        health.started = False

    app.cleanup_ctx.extend((databases, pruning, loop_lag, started))
    return app


def _limits(config: Config, lookup: Lookup) -> Limits:
    return Limits(
        slots=lookup.slots,
        max_batch=config.max_batch,
        waiting_singles=config.waiting_singles,
        waiting_bulk=config.waiting_bulk,
        max_wait=config.max_wait,
    )


def _sizes(config: Config) -> Sizes:
    return Sizes(
        cache_entries=config.cache_entries,
        absence_entries=config.absence_entries,
        absence_seconds=config.absence_seconds,
        # What a read may take, with its second try, and as much again.
        longest_read=2 * (config.query_timeout + config.probe_interval),
    )


def _brownout(config: Config) -> float:
    return config.brownout_seconds if config.brownout == "on" else 0.0


def _observe(metrics: Metrics, loader: Loader, lookup: Lookup) -> None:
    """Have the gauges read what they show when they are scraped."""
    metrics.loader_waiting.labels("single").set_function(lambda: loader.waiting[0])
    metrics.loader_waiting.labels("bulk").set_function(lambda: loader.waiting[1])
    metrics.loader_reading.set_function(lambda: loader.reading)
    metrics.trusted.set_function(lookup.trusted)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _prune(writer: Writer) -> None:
    """Keep the change feed short, for as long as the process runs."""
    while True:
        await asyncio.sleep(PRUNE_INTERVAL)
        try:
            pruned = await writer.prune(FEED_KEPT)
        except Unavailable as error:
            log.warning("change feed not pruned", reason=error.reason)
        else:
            log.info("change feed pruned", rows=pruned)


async def _watch_loop(metrics: Metrics) -> None:
    """Measure how late the event loop runs a timer, for as long as it runs."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LOOP_LAG_INTERVAL
        await asyncio.sleep(LOOP_LAG_INTERVAL)
        metrics.loop_lag.observe(max(0.0, loop.time() - due))


@asynccontextmanager
async def listening(
    app: web.Application, config: Config, host: str, port: int, *, reuse_port: bool = False
) -> AsyncIterator[str]:
    """The application behind its server, and its address; at the end it drains.

    Raises OSError when the address cannot be had.
    """
    refusals = app[REFUSALS]
    crowd = Crowd(affordable_connections(config.max_connections), refusals)
    app[METRICS].connections.set_function(lambda: len(crowd))
    runner = Runner(app, refusals, crowd, config, **_server_settings(config))
    await runner.setup()
    assert runner.server is not None
    shorten(runner.server, "/v1/verify", routes.handler_of(app, "POST", "/v1/verify"))
    loop = asyncio.get_running_loop()
    reported_before = loop.get_exception_handler()
    loop.set_exception_handler(refusals.of_loop)
    try:
        site = web.TCPSite(runner, host, port, reuse_port=reuse_port, backlog=1024)
        await site.start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        loop.set_exception_handler(reported_before)


async def serve(
    config: Config,
    host: str,
    port: int,
    exposition: Exposition,
    *,
    reuse_port: bool,
    ready: Callable[[str], None],
    stop: asyncio.Event,
) -> None:
    """Serve until ``stop`` is set, then drain: running requests finish within their bounds.

    ``ready`` is called once with the address when it serves. Raises OSError when the address
    cannot be had.
    """
    app = build(config, exposition=exposition)
    async with listening(app, config, host, port, reuse_port=reuse_port) as url:
        # What start-up made lives as long as the process: the collector need not look again.
        gc.collect()
        gc.freeze()
        ready(url)
        await stop.wait()
        log.info("draining", seconds=config.drain_seconds)
        app[HEALTH].draining = True
        app[STREAMS].drain()


def _server_settings(config: Config) -> dict[str, Any]:
    return {
        "access_log": None,
        "auto_decompress": False,
        "handle_signals": False,
        "keepalive_timeout": config.keepalive,
        "max_field_size": config.max_header,
        "max_headers": config.max_headers,
        "max_line_size": config.max_header,
        "shutdown_timeout": config.drain_seconds,
        "tcp_keepalive": True,
    }
