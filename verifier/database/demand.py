"""Demand: how many connections workers take of each server, and whether it admits them.

A worker opens what Config allows and no more. Where a server turns some of them away, what they
were for becomes unavailable, though nothing is down.
"""

from __future__ import annotations

import asyncio

import msgspec
import structlog

from verifier.config import Databases, Ingest
from verifier.database.connections import FAILURES, open_reader, or_terminated
from verifier.database.hosts import single_hosts

log = structlog.get_logger()

# The connection over which a server's state is asked and its change log followed.
_WATCH = 1

# The connection over which what a worker counts is written, where keys are asked for.
_EXCHANGE = 1

# A worker's successor connects before the server has noticed that the worker is gone.
_REPLACED = 1

# For `migrate`, `ledger import`, a monitor, a person; PostgreSQL keeps three for superusers.
SPARE = 12

# The service cannot count on connections that are kept for superusers.
_ADMITTED = """
SELECT
    current_setting('max_connections')::int
    - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', TRUE)::int, 0)
"""


class Demand(msgspec.Struct, frozen=True):
    """Connections that workers take of one server; ``sum`` is how they come to so many."""

    connections: int
    sum: str


def of_primary(
    config: Databases, ingest: Ingest, workers: int, *, alone: bool, keyed: bool
) -> Demand:
    """What so many workers take of the primary.

    ``alone`` when there are no replicas, ``keyed`` when callers need keys.
    """
    look_ups = config.read_connections if alone else config.primary_connections
    return _demand(workers, look_ups, ingest.write_connections, _EXCHANGE if keyed else 0)


def of_replica(config: Databases, workers: int) -> Demand:
    """What so many workers take of each replica."""
    return _demand(workers, config.read_connections, 0, 0)


def _demand(workers: int, look_ups: int, writing: int, counting: int) -> Demand:
    connections = (workers + _REPLACED) * (look_ups + writing + counting + _WATCH) + SPARE
    share = f" + {writing} writing" if writing else ""
    share += f" + {counting} counting" if counting else ""
    return Demand(
        connections,
        f"({workers} workers + {_REPLACED} being replaced) "
        f"× ({look_ups} look-ups{share} + {_WATCH} watching) + {SPARE} spare = {connections}",
    )


async def warn(config: Databases, ingest: Ingest, workers: int, *, keyed: bool) -> None:
    """Log a warning for each server that admits fewer connections than the workers may take.

    Takes at most connect_timeout + query_timeout. A server that cannot be asked is left to the
    workers, who say so themselves.
    """
    primary = of_primary(config, ingest, workers, alone=not config.replica_dsns, keyed=keyed)
    replica = of_replica(config, workers)
    asked = [("primary", config.primary_dsn, primary)]
    for number, dsn in enumerate(config.replica_dsns, 1):
        asked.append((f"replica-{number}", dsn, replica))
    await asyncio.gather(
        *(
            _compare(name, host, demand, config)
            for name, dsn, demand in asked
            for host in single_hosts(dsn)
        )
    )


async def _compare(name: str, dsn: str, demand: Demand, config: Databases) -> None:
    try:
        connection = await open_reader(dsn, config)
        with or_terminated(connection):
            async with asyncio.timeout(config.query_timeout):
                admitted = await connection.fetchval(_ADMITTED)
                await connection.close()
    except FAILURES:
        return
    if admitted < demand.connections:
        log.warning(
            "max_connections is too small for the workers",
            database=name,
            admitted=admitted,
            needed=demand.sum,
        )
