"""Scenario 19: the way to a replica leads to another server, without anything breaking.

A DSN with several hosts, a balancer or a Kubernetes Service does that: new connections lead to the
other server, those that are open stay where they are. The connection that watches is one of those
that come to an end, the look-ups' are not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.faults.ground import Ground, ask, execute
from tests.faults.proxy import Proxy
from tests.faults.scenario import Row, play
from tests.faults.service import Service
from tests.faults.test_network import proxy_of
from verifier.embedded import Server

# Each worker's connection for probes is the one that follows the change log.
END_WATCHES = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE application_name = 'verifier-read' AND query LIKE '%ledger_change%'
"""


@pytest.fixture
def proxy(ground: Ground) -> Iterator[Proxy]:
    """Run a proxy in front of all servers."""
    yield from proxy_of(ground)


@pytest.fixture
def remote(ground: Ground, proxy: Proxy) -> Iterator[Service]:
    """Run a service that reaches its one replica through the proxy."""
    dsns = {
        "primary_dsn": f"postgresql://verifier@127.0.0.1:{proxy.ports['primary']}/verifier",
        "replica_dsns": f"postgresql://verifier@127.0.0.1:{proxy.ports['replica-1']}/verifier",
    }
    with ground.service(**dsns) as service:
        yield service


@asynccontextmanager
async def replaced(proxy: Proxy, old: Server) -> AsyncIterator[None]:
    """The watch moves to another server, and the one where the look-ups are stands still."""
    proxy.behave("replica-1", "replica-2")
    assert await ask(old, END_WATCHES) > 0
    await execute(old, "SELECT pg_wal_replay_pause()")
    try:
        yield
    finally:
        await execute(old, "SELECT pg_wal_replay_resume()")
        proxy.behave("replica-1", "forward")


async def test_a_replica_s_dsn_leads_to_another_server(
    ground: Ground, proxy: Proxy, remote: Service, rows: list[Row]
) -> None:
    """What is read over connections to the old server is not taken for the new one's state (A1)."""
    fault = replaced(proxy, ground.cluster.replicas[0])
    rows.append(await play("19 replica's DSN leads elsewhere", ground.load, remote, fault))
