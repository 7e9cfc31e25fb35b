"""The server: aiohttp's, with connections of our own (connection.py) and a bound on them."""

from __future__ import annotations

import resource
from collections.abc import Awaitable, Callable
from math import ceil
from typing import Any

import structlog
from aiohttp import hdrs, web
from aiohttp.http_parser import RawRequestMessage

from verifier.api.server.connection import Connection
from verifier.api.server.crowd import LINGERING, Crowd
from verifier.api.server.deadlines import Deadlines
from verifier.api.server.desk import Desk
from verifier.api.server.refusals import Refusals
from verifier.config import Connections

log = structlog.get_logger()

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

# Open files besides clients' connections: databases, logs, the event loop's own.
OTHER_FILES = 512


class Server(web.Server):
    """Makes a Connection for each client."""

    def __init__(
        self,
        plain: web.Server,
        refusals: Refusals,
        crowd: Crowd,
        desk: Desk,
        bounds: Connections,
    ) -> None:
        self._of_message = plain.request_factory
        self.is_draining = False
        super().__init__(
            _answering(plain.request_handler, refusals),
            request_factory=self._request,
            loop=plain._loop,  # noqa: SLF001
            **plain._kwargs,  # noqa: SLF001 # aiohttp gives no other way to have its settings
        )
        self.refusals = refusals
        self.crowd = crowd
        self.desk = desk
        self.bounds = bounds
        self.heads = Deadlines(bounds.header_timeout, self._loop)

    def __call__(self) -> Connection:
        """Called for every client."""
        return Connection(self, self._loop, **self._kwargs)

    def drain(self) -> None:
        """From now on each request is its connection's last, as if its client had said so."""
        self.is_draining = True
        self.desk.is_open = False

    def _request(self, message: RawRequestMessage, *more: Any) -> web.BaseRequest:
        if self.is_draining:
            message = message._replace(should_close=True)
        return self._of_message(message, *more)


class Runner(web.AppRunner):
    """Starts and stops an application behind a Server."""

    def __init__(
        self,
        app: web.Application,
        refusals: Refusals,
        crowd: Crowd,
        desk: Desk,
        bounds: Connections,
    ) -> None:
        super().__init__(
            app,
            access_log=None,
            auto_decompress=False,
            handle_signals=False,
            keepalive_timeout=bounds.keepalive,
            max_field_size=bounds.max_header,
            max_headers=bounds.max_headers,
            max_line_size=bounds.max_header,
            shutdown_timeout=bounds.drain_seconds,
            tcp_keepalive=True,
        )
        self._refusals = refusals
        self._crowd = crowd
        self._desk = desk
        self._bounds = bounds

    def drain(self) -> None:
        """Have each request be its connection's last; nothing to do before the setup."""
        if isinstance(self.server, Server):
            self.server.drain()

    async def _make_server(self) -> Server:
        plain = await super()._make_server()
        return Server(plain, self._refusals, self._crowd, self._desk, self._bounds)


_CONTINUE = "100-continue"


def _answering(handler: Handler, refusals: Refusals) -> Handler:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        try:
            # aiohttp's own refusal quotes what may be no text.
            if request.headers.get(hdrs.EXPECT, _CONTINUE).lower() != _CONTINUE:
                raise web.HTTPExpectationFailed
            return await handler(request)
        except web.HTTPException as error:
            return refusals.of_http(request, error)

    return answer


def affordable_connections(wanted: int) -> int:
    """How many connections the limit of open files allows, at most ``wanted``.

    Raises the soft limit of this process as far as the hard limit allows, and logs when that is not
    enough.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Those that were turned away and linger come on top.
    needed = wanted + ceil(wanted / LINGERING) + OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    if limit == needed:
        log.info("limit of open files raised", before=soft, now=limit)
        return wanted
    # Half of a tiny limit.
    affordable = max((limit - OTHER_FILES) * LINGERING // (LINGERING + 1), limit // 2)
    log.warning("fewer connections than set", wanted=wanted, now=affordable, open_files=limit)
    return affordable
