"""``verifier up``: the whole service on one machine, with nothing to install or configure."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer

from verifier.cli import demo, demo_keys, logs, signals
from verifier.cli.balancer import Balancer, program
from verifier.cli.gathering import Gatherer
from verifier.cli.ports import Reservation
from verifier.cli.serve import Port, reserved, say_ready, supervise, warn_open
from verifier.cli.supervisor import Supervisor
from verifier.config import PREFIX, Config
from verifier.database import demand
from verifier.database.migrate import migrate
from verifier.embedded import Cluster
from verifier.errors import ConfigError
from verifier.synthetic import example
from verifier.synthetic.ledger import MAX_ROWS

# The databases and their data are meant for this machine alone.
_HOST = "127.0.0.1"

# Most connections that each server admits: 256 workers with the settings' defaults. Each that is
# open is a process of PostgreSQL with a few megabytes of its own.
_CONNECTIONS_MAX = 2100


def up(
    port: Port = 8080,
    replicas: Annotated[
        int, typer.Option(metavar="N", min=0, max=8, help="Streaming replicas of PostgreSQL.")
    ] = 2,
    workers: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            max=256,
            help="Processes that share the port. With two, one answers while the other is "
            "restarted; beyond the number of cores, more do not help.",
        ),
    ] = 2,
    rows: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            max=MAX_ROWS,
            help="Made-up invoices in the ledger; only counts on the first start.",
        ),
    ] = 100_000,
    balancer: Annotated[
        bool,
        typer.Option(
            "--balancer",
            help="Put HAProxy before the workers, which must be installed: what they have no time "
            "for waits there, and is refused there (docs/overload.md).",
        ),
    ] = False,
    data: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help="Where everything is kept. Remove it, while nothing runs, to start anew.",
        ),
    ] = Path("verifier-data"),
) -> None:
    """Run everything on this machine: PostgreSQL, its replicas, a demo ledger, the workers.

    Prints one line, ready http://127.0.0.1:PORT, once it serves. What dies is started again.
    SIGTERM or Ctrl-C lets the running requests finish and stops everything; a second one does not
    wait for them. SIGHUP replaces the workers one after the other. The next start finds the same
    ledger again, after a crash too.
    """
    config = Config.from_env(os.environ)
    logs.configure(config.logs.log_level)
    if balancer:
        program()
    asyncio.run(_up(config, port, replicas, workers, rows, data, balancer=balancer))


async def _up(
    config: Config,
    port: int,
    replicas: int,
    workers: int,
    rows: int,
    data: Path,
    *,
    balancer: bool,
) -> None:
    connections = _connections(config, workers, replicas)
    async with AsyncExitStack() as stack:
        stop = stack.enter_context(signals.catching(reloads=True))
        address = stack.enter_context(Reservation(_HOST, port))
        cluster = Cluster(data, replicas=replicas, connections=connections, notify=_say)
        stack.push_async_callback(cluster.stop)
        await stop.unless(cluster.start())
        await stack.enter_async_context(cluster.kept(random.random))
        await stop.unless(migrate(cluster.primary.dsn))
        given = config.replaced(primary_dsn=cluster.primary.dsn)
        await stop.unless(demo.fill(given, data, rows, _say))
        if needs_keys := config.access.auth == "on":
            peppers = {f"{PREFIX}KEY_PEPPERS": demo_keys.pepper(data)}
            given = given.replaced(key_peppers=tuple(peppers.values()))
            await stop.unless(demo_keys.ensure(given, data))
        else:
            peppers = {}
            warn_open()
        environ = {
            **_environ(cluster, data),
            **peppers,
            # Alone nobody looks at /readyz. A balancer still has what waits in its queues.
            f"{PREFIX}DRAIN_ACCEPT": "1" if balancer else "0",
        }

        def ready() -> None:
            key = data / demo_keys.ASK if needs_keys else None
            if key is not None:
                _say(
                    f"keys: export VERIFIER_PRIMARY_DSN='{cluster.primary.dsn}' "
                    f"VERIFIER_KEY_PEPPERS=$(cat {data / demo_keys.PEPPER}); verifier keys list"
                )
            _say(f"try: {example.curl(address.url, key)}")
            say_ready(address.url)

        gatherer = Gatherer(config.numbers.scrape_wait)
        if balancer:
            addresses = reserved(stack, _HOST, 0, workers)
            supervisor = supervise(addresses, workers, gatherer, lambda: environ)
            statistics = stack.enter_context(Reservation(_HOST, 0))
            at = [f"{each.host}:{each.port}" for each in addresses]
            before = Balancer(address.listener(), f"{statistics.host}:{statistics.port}", at, data)
            _say(f"statistics of HAProxy: {statistics.url}/")
            await _behind(before, supervisor, stop, ready)
        else:
            await supervise([address], workers, gatherer, lambda: environ).run(stop, ready)
        _say("stopping PostgreSQL")


async def _behind(
    balancer: Balancer, supervisor: Supervisor, stop: signals.Stop, ready: Callable[[], None]
) -> None:
    """Run workers behind a balancer, which starts after them; both are told at once to end."""
    workers = signals.Stop()
    workers.reload = stop.reload
    serving = asyncio.Event()
    supervising = asyncio.ensure_future(supervisor.run(workers, serving.set))
    begun, asked, hurried = (
        asyncio.ensure_future(event.wait()) for event in (serving, stop.asked, stop.hurry)
    )
    hurried.add_done_callback(lambda _: workers.hurry.set())
    try:
        await asyncio.wait({supervising, begun, asked}, return_when=asyncio.FIRST_COMPLETED)
        if begun.done() and not asked.done():
            async with balancer.serving(stop.hurry, random.random):
                ready()
                await asyncio.wait({supervising, asked}, return_when=asyncio.FIRST_COMPLETED)
                # Together: workers tell their streams to end, for which the balancer waits, and go
                # on taking what it still has.
                balancer.drain()
                workers.asked.set()
    finally:
        workers.asked.set()
        await asyncio.wait({supervising})
        for each in (begun, asked, hurried):
            each.cancel()
    supervising.result()


def _connections(config: Config, workers: int, replicas: int) -> int:
    """How many each server has to admit; ConfigError when that is more than one should."""
    keyed = config.access.auth == "on"
    taken = [
        demand.of_primary(config.databases, config.ingest, workers, alone=not replicas, keyed=keyed)
    ]
    if replicas:
        taken.append(demand.of_replica(config.databases, workers))
    most = max(taken, key=lambda each: each.connections)
    if most.connections > _CONNECTIONS_MAX:
        raise ConfigError(
            f"--workers {workers}: takes {most.sum} connections of a server; expected at most "
            f"{_CONNECTIONS_MAX} by fewer workers, or fewer {PREFIX}READ_CONNECTIONS, "
            f"{PREFIX}PRIMARY_CONNECTIONS or {PREFIX}WRITE_CONNECTIONS"
        )
    return most.connections


def _environ(cluster: Cluster, data: Path) -> Mapping[str, str]:
    """The environment of the workers: ours, with the cluster's databases."""
    replicas = [replica.dsn for replica in cluster.replicas]
    if any("," in dsn for dsn in replicas):
        raise ConfigError(f"--data {data}: expected a path without a comma")
    return os.environ | {
        f"{PREFIX}PRIMARY_DSN": cluster.primary.dsn,
        f"{PREFIX}REPLICA_DSNS": ",".join(replicas),
    }


def _say(text: str) -> None:
    """One step, for whoever watches; stdout is kept for the line that others wait for."""
    sys.stderr.write(f"{text}\n")
