"""A port of the supervisor's own, for operators: no key is needed there.

``/metrics`` are the supervisor's: the kernel gives a connection to the shared port to any worker,
also to one that is frozen; this one it gives to nobody else. Health is the workers' to tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from verifier.cli.ports import url_of
from verifier.errors import ConfigError

log = structlog.get_logger()

_HEALTH = ("/livez", "/readyz", "/startupz")

# Seconds that a worker has to tell how it is.
_PATIENCE = 1.0

_NO_ANSWER = msgspec.json.encode({"reasons": ["no_answer"]})


@asynccontextmanager
async def exposing(
    host: str, port: int, text: Callable[[], Awaitable[bytes]], workers: Sequence[str]
) -> AsyncIterator[None]:
    """Serve ``GET /metrics`` and the health of ``workers`` (their URLs) while the block runs.

    Of several it is that of the best one. ``port`` 0 picks a free one, which the log tells. Raises
    ConfigError when the address cannot be had.
    """
    session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_PATIENCE))

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=await text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def health(request: web.Request) -> web.Response:
        told = await asyncio.gather(*(_told(session, f"{url}{request.path}") for url in workers))
        status, body = min(told)
        return web.Response(status=status, body=body, content_type="application/json")

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    for path in _HEALTH:
        app.router.add_get(path, health)
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
        await session.close()


async def _told(session: aiohttp.ClientSession, url: str) -> tuple[int, bytes]:
    """What a worker says, over a connection of its own: one that is kept leads to one worker."""
    try:
        async with session.get(url, headers={"Connection": "close"}) as response:
            return response.status, await response.read()
    except (aiohttp.ClientError, TimeoutError):
        return 503, _NO_ANSWER
