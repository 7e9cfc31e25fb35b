"""Servers that end unasked are started again, each by itself.

Nothing is promoted and nothing is cloned: the death of a primary costs the time of its recovery.
Replicas are there meanwhile, and find their way back to it by themselves.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import structlog

from verifier.backoff import backoff
from verifier.embedded import replication
from verifier.embedded.server import Server
from verifier.errors import ClusterError

log = structlog.get_logger()

# Seconds between starts that fail in a row. There is no last one: a full disk is emptied one day.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0


@asynccontextmanager
async def upkeep(
    primary: Server, replicas: Sequence[Server], random: Callable[[], float]
) -> AsyncIterator[None]:
    """Start servers again for as long as the block runs; ``random`` gives numbers in [0, 1).

    A start that is under way when the block is left is given up: `Server.stop` ends what it began.
    """
    keepers = [
        asyncio.create_task(_keep(server, primary, random)) for server in (primary, *replicas)
    ]
    try:
        yield
    finally:
        for keeper in keepers:
            keeper.cancel()
        await asyncio.wait(keepers)
    for keeper in keepers:
        if not keeper.cancelled():
            keeper.result()


async def _keep(server: Server, primary: Server, random: Callable[[], float]) -> None:
    """One postmaster after the other; returns when no other could be of use."""
    loop = asyncio.get_running_loop()
    deaths = 0
    while True:
        began = loop.time()
        status = await server.wait()
        assert status is not None  # whoever stops a server leaves the block before
        age = loop.time() - began
        log.warning("server ended", server=server.name, how=_how(status), age=round(age, 1))
        # One that ran for long was unlucky, and waits for nothing but its recovery.
        deaths = deaths + 1 if age < _LONGEST_PAUSE else 0
        while server.pid is None:
            if deaths:
                await asyncio.sleep(backoff(deaths, _FIRST_PAUSE, _LONGEST_PAUSE, random()))
            try:
                await server.start()
            except (ClusterError, OSError) as error:
                # It may run all the same, when its recovery takes long.
                deaths += 1
                log.warning("server not started", server=server.name, why=str(error))
            else:
                log.info("server started", server=server.name, pid=server.pid)
        if server is not primary and not await _may_follow(primary, server):
            log.error(
                "server given up",
                server=server.name,
                why=replication.WAL_GONE,
                expected="another start of the whole, which clones it anew",
            )
            await server.stop()
            return


async def _may_follow(primary: Server, replica: Server) -> bool:
    """False only when the primary says so; it may be down as well."""
    with suppress(ClusterError):
        async with replication.connected(primary) as connection:
            return await replication.wal_kept(connection, replica)
    return True


def _how(status: int) -> str:
    """In PostgreSQL's words."""
    if status < 0:
        return f"was terminated by signal {-status}: {signal.strsignal(-status)}"
    return f"exited with {status}"
