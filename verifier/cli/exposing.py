"""``/metrics`` on a port of the supervisor's own.

The kernel gives a connection to the shared port to any worker, also to one that is frozen; this
one it gives to nobody else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from verifier.cli.ports import url_of
from verifier.errors import ConfigError

log = structlog.get_logger()


@asynccontextmanager
async def exposing(
    host: str, port: int, text: Callable[[], Awaitable[bytes]]
) -> AsyncIterator[None]:
    """Serve ``GET /metrics`` while the block runs.

    ``port`` 0 picks a free one, which the log tells. Raises ConfigError when the address cannot
    be had.
    """

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=await text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ConfigError(f"cannot serve metrics on {host} port {port}: {error}") from error
        url = url_of(host, runner.addresses[0][1])
        log.info("metrics served", url=f"{url}/metrics")
        yield
    finally:
        await runner.cleanup()
