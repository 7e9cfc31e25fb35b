"""What is put under load: a service that is there already, or one that a run brings up itself."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qs, urlsplit

from loadtests.generator.connections import Address
from loadtests.processes import Server, children, cores, python
from loadtests.questions import Book
from loadtests.revisions import ROOT
from loadtests.slowing import slowed
from loadtests.watching import Parts
from verifier.access.keys import SCOPES, make
from verifier.access.store import opened
from verifier.cli import demo, demo_keys
from verifier.cli.balancer import Balancer
from verifier.config import Config
from verifier.database import demand
from verifier.database.migrate import migrate
from verifier.embedded import Cluster
from verifier.embedded import Server as Database
from verifier.invoice.verdict import SHANGHAI

DATA = ROOT / "loadtests-data"

# Questions can be made about a ledger of the last year; and it should have invoices of late.
_OLDEST_DAYS = 60

T = TypeVar("T")


class BadTarget(Exception):
    """There is nothing to put under load; the message says what was expected."""


class Target(NamedTuple):
    """An address, what its ledger holds, and what is known of its processes.

    ``cores_each`` is a worker's part of a core, None for a whole one. ``generator_core`` is where
    the load belongs, ``cluster`` the databases; both None when the service is somebody else's, of
    which ``parts`` knows nothing. ``settings`` are those that it was given; ``key`` is one that may
    do everything, where it asks for keys.
    """

    address: Address
    host: str
    book: Book
    parts: Callable[[], Parts]
    workers: int | None = None
    generator_core: int | None = None
    cluster: Cluster | None = None
    log: Path | None = None
    cores_each: float | None = None
    settings: Mapping[str, str] = MappingProxyType({})
    key: str | None = None


def there(url: str, book: Book) -> Target:
    """A service at a base URL. BadTarget when the URL is not http, or has a path."""
    parsed = urlsplit(url)
    if parsed.scheme != "http" or not parsed.hostname or parsed.path not in ("", "/"):
        raise BadTarget(
            f"--host: expected http://HOST[:PORT], got {url!r}; for https run the scenario with "
            "Locust, or point at what is behind the TLS"
        )
    try:
        found = socket.getaddrinfo(parsed.hostname, parsed.port or 80, type=socket.SOCK_STREAM)
    except OSError as error:
        raise BadTarget(f"--host: {parsed.hostname}: {error.strerror}") from error
    address = str(found[0][4][0]), int(found[0][4][1])
    try:
        socket.create_connection(address, timeout=10.0).close()
    except OSError as error:
        raise BadTarget(f"--host: nobody answers at {url}: {error}") from error
    return Target(address, parsed.netloc, book, dict)


def today() -> date:
    """The day of asking."""
    return datetime.now(SHANGHAI).date()


@contextmanager
def own(
    rows: int,
    workers: int,
    settings: Mapping[str, str],
    *,
    replicas: int = 1,
    turned: bool = False,
    data: Path = DATA,
    tree: Path = ROOT,
    cores_each: float | None = None,
    balancer: bool = False,
    keyed: bool = False,
) -> Iterator[Target]:
    """A primary, replicas, a synthetic ledger and a service, for as long as the context lasts.

    One worker has the first core that we may use, several have all of them, or each has so much of
    the first one (``cores_each``, together at most 1); databases and load have the last one. The
    ledger is kept for the next run, but not when the run turns the servers' roles around
    (``turned``): the service then looks for its primary among all of them. A ``balancer`` stands
    before workers with a port each, on the last core. It asks for a key when it is ``keyed``.
    ``tree`` has the service's code; the databases are made by ours. RigError and ClusterError say
    what does not start.
    """
    with ExitStack() as undo:
        if turned:
            data = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="loadtests-")))
        folder = data / f"{rows}-rows"
        folder.mkdir(parents=True, exist_ok=True)
        allowed = os.sched_getaffinity(0)
        first, last = cores()
        # PostgreSQL inherits it.
        os.sched_setaffinity(0, {last})
        undo.callback(os.sched_setaffinity, 0, allowed)
        config = Config.from_env(os.environ)
        admitted = _connections(config, workers, replicas)
        cluster = Cluster(folder, replicas=replicas, connections=admitted, notify=_say)
        undo.callback(lambda: _await(cluster.stop()))
        _await(cluster.start())
        _await(migrate(cluster.primary.dsn))
        book = _filled(config.replaced(primary_dsn=cluster.primary.dsn), folder, rows)
        servers = (cluster.primary, *cluster.replicas)
        key, asked = None, dict[str, str]()
        if keyed:
            key, asked = _await(_keyed(config.replaced(primary_dsn=cluster.primary.dsn), folder))
        environ = {
            "VERIFIER_PRIMARY_DSN": any_of(servers) if turned else cluster.primary.dsn,
            "VERIFIER_REPLICA_DSNS": ",".join(
                each.dsn for each in (servers if turned else cluster.replicas)
            ),
            # Before what is installed, for its workers as well.
            "PYTHONPATH": str(tree),
            **asked,
            **settings,
        }
        log = folder / "service.log"
        command = python("-m", "verifier", "serve", "--port", "0", "--workers", str(workers))
        serving = {first} if workers == 1 or cores_each else allowed
        if balancer:
            command.append("--port-each")
        if cores_each:
            undo.enter_context(slowed(first, workers * cores_each))
        server = undo.enter_context(Server(command, environ, serving, log, tree))
        address, balancers = server.address, list[int]()
        if balancer:
            # Beside the load and the databases.
            address, pid = undo.enter_context(_balancing(server.urls, folder))
            balancers.append(pid)

        def parts() -> Parts:
            below = children(server.pid)
            return {
                "workers": below or [server.pid],
                "supervisor": [server.pid] if below else [],
                "databases": [pid for each in servers if (pid := each.pid) is not None],
                "balancer": balancers,
            }

        host = f"{address[0]}:{address[1]}"
        yield Target(
            address, host, book, parts, workers, last, cluster, log, cores_each, settings, key
        )


async def _keyed(config: Config, folder: Path) -> tuple[str, dict[str, str]]:
    """A new key that may do everything, and the settings of a service that asks for it."""
    # The ledger is kept for the next run, and so is the pepper that its keys are under.
    pepper, key = demo_keys.pepper(folder), make("test", secrets.choice)
    async with opened(config, (pepper.encode(),), "loadtests") as store:
        await store.ensure_key("loadtests", "load", key, "test", SCOPES)
    return key, {
        "VERIFIER_AUTH": "on",
        "VERIFIER_KEY_PEPPERS": pepper,
        # An invoice that everybody asks about fails as often as that in a second, and the oracle
        # knows of no limit.
        "VERIFIER_FAILED_ATTEMPTS": str(10**9),
    }


@contextmanager
def _balancing(urls: Sequence[str], folder: Path) -> Iterator[tuple[Address, int]]:
    """HAProxy before workers, for as long as the context lasts: its address and process."""
    with socket.create_server(("127.0.0.1", 0)) as listening, tempfile.TemporaryDirectory() as own:
        workers = [url.removeprefix("http://") for url in urls]
        balancer = Balancer(listening, f"unix@{own}/statistics", workers, folder)
        host, port = listening.getsockname()
        balancer.start()
        try:
            yield (host, port), balancer.pid
        finally:
            balancer.stop()


def any_of(servers: Sequence[Database]) -> str:
    """A DSN with several hosts; of these the service takes the one that is not in recovery."""
    given = [parse_qs(urlsplit(server.dsn).query) for server in servers]
    hosts = ",".join(each["host"][0] for each in given)
    ports = ",".join(each["port"][0] for each in given)
    return f"postgresql://verifier@/verifier?host={hosts}&port={ports}"


def _connections(config: Config, workers: int, replicas: int) -> int:
    """How many each server has to admit."""
    alone, keyed = not replicas, config.access.auth == "on"
    primary = demand.of_primary(config.databases, config.ingest, workers, alone=alone, keyed=keyed)
    return max(primary.connections, demand.of_replica(config.databases, workers).connections)


def _filled(config: Config, folder: Path, rows: int) -> Book:
    _await(demo.fill(config, folder, rows, _say))
    made = demo.known(folder)
    assert made is not None
    age = (today() - made.until).days
    if age > _OLDEST_DAYS:
        raise BadTarget(f"the ledger in {folder} is {age} days old; remove it to make a new one")
    return Book(made.rows, made.seed, made.until)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _await(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner() as runner:
        return runner.run(work)
