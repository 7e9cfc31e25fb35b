"""Service: the core behind its web server; started, drained and stopped by whoever runs it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from secrets import token_hex
from socket import socket
from typing import cast

import structlog
from aiohttp import web
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

from verifier.access.audit import audit_secrets
from verifier.access.keys import peppers_of
from verifier.api.health import Health
from verifier.api.ingest import Ingest
from verifier.api.routes import all_routes
from verifier.api.server.body import Bodies
from verifier.api.server.boundary import Boundary
from verifier.api.server.crowd import Crowd
from verifier.api.server.denials import Denials
from verifier.api.server.desk import Desk
from verifier.api.server.guard import Guard
from verifier.api.server.readers import Readers
from verifier.api.server.refusals import Lines, Refusals
from verifier.api.server.respond import Responder
from verifier.api.server.rounds import Rounds
from verifier.api.server.router import application, handlers_of, shorten
from verifier.api.server.server import Runner, affordable_connections
from verifier.api.usage import OwnUsage
from verifier.api.verify.bulk import Resources
from verifier.api.verify.stream import Streams
from verifier.api.verify.veil import Veil
from verifier.app.core import Core
from verifier.clocks import Clocks, system_clocks
from verifier.config import Config
from verifier.errors import ConfigError, VerifierError
from verifier.metrics.exposition import Exposition
from verifier.pacing import Turns
from verifier.wire.answers import Encoder
from verifier.wire.tokens import Tokens

log = structlog.get_logger()

# Connections that wait to be accepted, as many as Linux lets wait by default. Who finds no place
# tries again after 1, 3, 7 and 15 s, which in a rush of 2,000 clients was the p99 of a worker.
_BACKLOG = 4096

# Connections that are accepted in a round of the event loop. libuv accepts one for each descriptor
# of a listening socket: with one descriptor, and a thousand busy clients, a hundred a second.
_ACCEPTED = 16
# Seconds within which a connection that was accepted last of all brings its request.
_FIRST_REQUEST = 1.0


class Service:
    """One process's service; of one event loop, started once.

    ``clocks`` are those of this machine unless tests pass their own; without an ``exposition`` it
    shows its own numbers. ``routes`` is all that it answers, ``application`` what aiohttp knows of
    it. ConfigError when it cannot be.
    """

    def __init__(
        self, config: Config, clocks: Clocks | None = None, exposition: Exposition | None = None
    ) -> None:
        if HttpRequestParser is HttpRequestParserPy:
            raise ConfigError("aiohttp was installed without its C extensions; expected a wheel")
        clocks = clocks or system_clocks()
        exposition = exposition or Exposition()
        metrics = exposition.metrics
        self._config = config
        self._clocks = clocks
        self._metrics = metrics
        self._core = core = Core(config, clocks, metrics)
        fleet = core.fleet
        tokens = Tokens(fleet.secret)
        readers = Readers(config.answers, metrics)
        bodies = Bodies(config.requests)
        turns = Turns(core.admission.calm)
        self._responder = Responder(clocks.wall, readers, turns, config.answers.write_buffer)
        resources = Resources(
            verifier=core.verifier,
            admission=core.admission,
            clock=clocks.steady,
            encoder=Encoder(token_hex(6)),
            tokens=tokens,
            bodies=bodies,
            turns=turns,
            responder=self._responder,
            readers=readers,
            requests=config.requests,
            answers=config.answers,
            veil=Veil(config.access.veil, clocks.steady),
            metrics=metrics,
            usage=core.access.usage,
            noticing=core.access.noticing,
        )
        self._streams = Streams(resources)
        auth = config.access.auth
        self._health = Health(exposition, fleet.serving, fleet.trusted, fleet.status, auth)
        keyed = core.access.keyring is not None
        secrets = audit_secrets(peppers_of(config.access.key_peppers)) if keyed else ()
        ingest = Ingest(core.writer, bodies, tokens, config.requests, metrics, clocks.wall, secrets)
        reports = core.access.reports
        usage = None if reports is None else OwnUsage(reports, clocks.wall, metrics)
        self.routes = all_routes(resources, self._streams, ingest, usage, self._health)
        self._guard = Guard(config.access, core.access.keyring)
        used = core.access.usage.note if config.access.auth == "on" else None
        boundary = Boundary(metrics, readers, self._guard, used)
        self._handlers = handlers_of(self.routes, boundary)
        self.application = application(self._handlers, boundary, config.requests.max_batch_body)
        lines = Lines(config.logs.refusal_lines, clocks.steady)
        self._refusals = Refusals(metrics.http_errors.add, lines)
        self._runner: Runner | None = None
        self._accept = config.connections.drain_accept

    async def start(
        self,
        host: str,
        port: int,
        listening: socket | None = None,
        *,
        succeeding: bool = False,
    ) -> str:
        """Serve, and return the address: that of ``listening``, a bound socket, if there is one.

        Raises OSError when it cannot be had; VerifierError when it is ``succeeding`` somebody who
        serves, and no database answers.
        """
        await self._core.start()
        if succeeding and not self._core.fleet.trusted():
            raise VerifierError("no database answers, and the worker in this one's place goes on")
        bounds = self._config.connections
        most = affordable_connections(bounds.max_connections)
        crowd = Crowd(most, bounds, self._refusals)
        self._metrics.connections.set_function(lambda: len(crowd))
        rounds = Rounds(self._clocks.steady, self._core.admission.waited)
        steady = self._clocks.steady
        denials = Denials(self._responder, self._metrics, bounds, steady)
        desk = Desk(self.routes, bounds, rounds, self._guard, denials)
        self._runner = runner = Runner(self.application, self._refusals, crowd, desk, bounds)
        await runner.setup()
        assert runner.server is not None
        shorten(runner.server, self._handlers)
        asyncio.get_running_loop().set_exception_handler(self._refusals.of_loop)
        self._health.started = True
        if listening is None:
            site: web.BaseSite = web.TCPSite(runner, host, port, backlog=_BACKLOG)
        else:
            site = web.SockSite(runner, listening, backlog=_BACKLOG)
        await site.start()
        for another in _doubles(site, _ACCEPTED - 1):
            await web.SockSite(runner, another, backlog=_BACKLOG).start()
        return f"http://{host}:{runner.addresses[0][1]}"

    async def hand_over(self) -> None:
        """Accept nothing more, before the drain: a successor does, on the same socket."""
        assert self._runner is not None
        for site in tuple(self._runner.sites):
            await site.stop()
        self._accept = max(self._accept, _FIRST_REQUEST)

    def drain(self) -> None:
        """Be ready no more; answers close their connections, and streams end at their next wait."""
        log.info("draining", seconds=self._config.connections.drain_seconds)
        self._health.draining = True
        self._streams.drain()
        if self._runner is not None:
            self._runner.drain()

    async def stop(self) -> None:
        """Accept nothing more, let running requests finish within their bounds, and end."""
        if self._runner is not None:
            await self._runner.cleanup()
        self._health.started = False
        await self._core.close()
        asyncio.get_running_loop().set_exception_handler(None)

    @asynccontextmanager
    async def serving(
        self,
        host: str,
        port: int,
        listening: socket | None = None,
        *,
        succeeding: bool = False,
    ) -> AsyncIterator[str]:
        """Serve while the block runs, and give the address, as ``start``; then drain and stop.

        Requests are taken for ``drain_accept`` seconds more.
        """
        try:
            yield await self.start(host, port, listening, succeeding=succeeding)
            self.drain()
            await asyncio.sleep(self._accept)
        finally:
            await self.stop()


def _doubles(site: web.BaseSite, count: int) -> list[socket]:
    """So many more descriptors for each socket that a site listens on."""
    # aiohttp tells no more than addresses.
    server = cast("asyncio.Server", site._server)  # noqa: SLF001
    return [
        socket(fileno=os.dup(listening.fileno()))
        for listening in server.sockets
        for _ in range(count)
    ]
