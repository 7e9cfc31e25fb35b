"""``verifier serve``: the workers, against given databases."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, nullcontext
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated

import structlog
import typer

from verifier.access.keys import peppers_of
from verifier.access.store import opened
from verifier.cli import logs, signals
from verifier.cli.gathering import Gatherer
from verifier.cli.ports import Reservation
from verifier.cli.settings import env_file_of, for_host, with_primary
from verifier.cli.supervisor import Policy, Settings, Supervisor
from verifier.config import PREFIX, Config
from verifier.database import demand
from verifier.errors import ConfigError, Unavailable
from verifier.metrics.exposition import Exposition

log = structlog.get_logger()

# What closing the pools and ending the process take beyond the stages of a drain.
_SPARE = 5.0

_LAST_PORT = 65_535

Host = Annotated[str, typer.Option(metavar="HOST", help="Address to serve on.")]
Port = Annotated[
    int,
    typer.Option(metavar="PORT", min=0, max=65535, help="Port to serve on; 0 takes a free one."),
]


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8080,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, max=256, help="Processes that share the port.")
    ] = 1,
    port_each: Annotated[
        bool,
        typer.Option(
            "--port-each",
            help="Each worker has a port of its own, from --port on, for a balancer that is to "
            "know how many requests each has.",
        ),
    ] = False,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            min=0,
            max=65535,
            help="Port of its own for /metrics, /livez, /readyz and /startupz, where nobody needs "
            "a key; VERIFIER_ADMIN_PORT, unless said.",
        ),
    ] = None,
    env_file: Annotated[
        Path | None,
        typer.Option(
            "--env-file",
            metavar="FILE",
            dir_okay=False,
            help="Settings, NAME=VALUE a line, that the environment does not have. Read again at "
            "every SIGHUP.",
        ),
    ] = None,
) -> None:
    """Serve, with the databases that the environment names.

    VERIFIER_PRIMARY_DSN is needed; VERIFIER_REPLICA_DSNS and all other settings are in
    docs/configuration.md. Prints one line, ready http://HOST:PORT, once it serves; with --port-each
    it has the address of every worker. SIGTERM or Ctrl-C drains and stops; a second one stops at
    once. A single worker is this process itself; with several, or with a port for /metrics, this
    process restarts those that die, and SIGHUP replaces them one after the other by new ones, which
    serve before the old ones go.
    """

    def environ() -> Mapping[str, str]:
        return os.environ if env_file is None else {**env_file_of(env_file), **os.environ}

    config = with_primary(environ())
    logs.configure(config.logs.log_level)
    if config.access.auth == "off":
        warn_open()
        if for_host(config, host).access.expose_ledger == "off":
            log.warning("ledger not exposed", host=host, expected=f"{PREFIX}EXPOSE_LEDGER=on")
    else:
        asyncio.run(_check_keys(config))
    keyed = config.access.auth == "on"
    asyncio.run(demand.warn(config.databases, config.ingest, workers, keyed=keyed))
    admin_port = metrics_port if metrics_port is not None else config.access.admin_port or None
    if workers == 1 and admin_port is None:
        from verifier.cli import worker

        alone = nullcontext(Exposition())
        with Reservation(host, port) as address:
            listening = address.listener()
            worker.serve(config, host, listening, alone, lambda: say_ready(address.url))
        return

    async def until_stopped() -> None:
        async with AsyncExitStack() as stack:
            stop = stack.enter_context(signals.catching(reloads=True))
            addresses = reserved(stack, host, port, workers if port_each else 1)
            gatherer = Gatherer(config.numbers.scrape_wait)
            urls = [each.url for each in addresses]
            if admin_port is not None:
                from verifier.cli.exposing import exposing

                exposed = exposing(host, admin_port, gatherer.text, urls)
                await stack.enter_async_context(exposed)
            supervisor = supervise(addresses, workers, gatherer, environ)
            await supervisor.run(stop, lambda: say_ready(*urls))

    asyncio.run(until_stopped())


async def _check_keys(config: Config) -> None:
    """ConfigError when nobody could ask anything. A primary that is away may come."""
    peppers = peppers_of(config.access.key_peppers)
    try:
        async with opened(config, peppers) as store:
            if await store.has_live_keys():
                return
    except Unavailable as error:
        log.warning("keys not looked at", reason=error.reason)
        return
    raise ConfigError(
        "there is no live key, so nobody could ask. Make one (verifier tenants create TENANT, "
        f"verifier keys create TENANT NAME), or say {PREFIX}AUTH=off, and then whoever reaches the "
        "port may ask and feed"
    )


def warn_open() -> None:
    """Say loudly that nobody needs a key."""
    log.warning(
        "no keys needed: whoever reaches the port may ask, and feed",
        setting=f"{PREFIX}AUTH=off",
    )


def reserved(stack: AsyncExitStack, host: str, port: int, count: int) -> list[Reservation]:
    """So many ports from one on, or any free ones for 0, kept until the stack is closed."""
    if port and port + count - 1 > _LAST_PORT:
        raise ConfigError(f"--port {port} --workers {count}: expected ports up to {_LAST_PORT}")
    return [
        stack.enter_context(Reservation(host, port + number if port else 0))
        for number in range(count)
    ]


def supervise(
    addresses: Sequence[Reservation],
    workers: int,
    gatherer: Gatherer,
    environ: Callable[[], Mapping[str, str]],
    uniform: Callable[[], float] = random.random,
) -> Supervisor:
    """A supervisor of so many workers, which share a reserved address or have one each.

    ``environ`` is read at the start and for each reload. Raises ConfigError.
    """

    def settings() -> Settings:
        given = environ()
        bounds = with_primary(given).connections
        policy = Policy(drain=bounds.drain_accept + bounds.drain_seconds + _SPARE)
        return Settings(dict(given), policy)

    command = [sys.executable, "-m", "verifier.cli.worker", "--host", addresses[0].host]
    listeners = [address.listener for address in islice(cycle(addresses), workers)]
    return Supervisor(command, listeners, settings, gatherer, random=uniform)


def say_ready(*urls: str) -> None:
    """The one line on stdout, for whoever waits for it."""
    # In one write, also where stdout is not buffered: print would write the line's end apart.
    sys.stdout.write(f"ready {' '.join(urls)}\n")
    sys.stdout.flush()
