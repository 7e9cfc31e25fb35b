"""``verifier serve``: the workers, against given databases."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from verifier.cli import logs, signals
from verifier.cli.ports import Reservation
from verifier.cli.settings import with_primary
from verifier.cli.supervisor import Policy, Supervisor
from verifier.config import Config
from verifier.errors import ConfigError
from verifier.ledger import demand

# What closing the pools and ending the process take beyond Config.drain_seconds.
_SPARE = 5.0

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
) -> None:
    """Serve, with the databases that the environment names.

    VERIFIER_PRIMARY_DSN is needed; VERIFIER_REPLICA_DSNS and all other settings are in
    docs/configuration.md. Prints one line, ready http://HOST:PORT, once it serves. SIGTERM or
    Ctrl-C drains and stops; a second one stops at once. A single worker is this process itself;
    with several, this process restarts those that die.
    """
    config = with_primary()
    logs.configure(config.log_level)
    asyncio.run(demand.warn(config, workers))
    if workers == 1:
        from verifier.cli import worker

        try:
            worker.serve(config, host, port, reuse_port=False, ready=say_ready)
        except OSError as error:
            raise ConfigError(f"cannot serve on {host} port {port}: {error}") from error
        return

    async def until_stopped() -> None:
        with signals.catching() as stop, Reservation(host, port) as address:
            supervisor = supervise(config, address, workers, os.environ)
            await supervisor.run(stop, lambda: say_ready(address.url))

    asyncio.run(until_stopped())


def supervise(
    config: Config,
    address: Reservation,
    workers: int,
    environ: Mapping[str, str],
    uniform: Callable[[], float] = random.random,
) -> Supervisor:
    """A supervisor of so many workers that share a reserved address."""
    command = [sys.executable, "-m", "verifier.cli.worker"]
    command += ["--host", address.host, "--port", str(address.port)]
    policy = Policy(drain=config.drain_seconds + _SPARE)
    return Supervisor(command, workers, policy, environ=environ, random=uniform)


def say_ready(url: str) -> None:
    """The one line on stdout, for whoever waits for it."""
    # In one write, also where stdout is not buffered: print would write the line's end apart.
    sys.stdout.write(f"ready {url}\n")
    sys.stdout.flush()
