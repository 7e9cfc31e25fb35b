"""What befalls the way to the databases: black holes, slowness, refused connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from random import Random

import pytest

from tests.faults.ground import Ground
from tests.faults.proxy import Proxy
from tests.faults.scenario import Row, play
from tests.faults.service import Service


@pytest.fixture(scope="module")
def proxy(ground: Ground) -> Iterator[Proxy]:
    """Run a proxy in front of all servers."""
    yield from proxy_of(ground)


def proxy_of(ground: Ground) -> Iterator[Proxy]:
    """A proxy in front of all servers while a fixture lives."""
    servers = [ground.cluster.primary, *ground.cluster.replicas]
    sockets = {each.name: each.directory / f".s.PGSQL.{each.port}" for each in servers}
    proxy = Proxy(sockets)
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def remote(ground: Ground, proxy: Proxy) -> Iterator[Service]:
    """Run a service that reaches its databases over TCP, through the proxy."""
    primary, *replicas = (
        f"postgresql://verifier@127.0.0.1:{port}/verifier" for port in proxy.ports.values()
    )
    with ground.service(primary_dsn=primary, replica_dsns=",".join(replicas)) as service:
        yield service


@asynccontextmanager
async def behaving(proxy: Proxy, names: Sequence[str], mode: str) -> AsyncIterator[None]:
    """The way to some servers behaves in some way."""
    for name in names:
        proxy.behave(name, mode)
    try:
        yield
    finally:
        for name in names:
            proxy.behave(name, "forward")


@asynccontextmanager
async def storm(proxy: Proxy) -> AsyncIterator[None]:
    """Connections break and are refused for a moment, now here and now there."""
    stop = asyncio.Event()

    async def refuse() -> None:
        random = Random(8)
        while not stop.is_set():
            names = random.sample(list(proxy.ports), 2)
            async with behaving(proxy, names, "refuse"):
                await asyncio.sleep(random.uniform(0.1, 0.6))
            await asyncio.sleep(random.uniform(0.0, 0.2))

    refusing = asyncio.create_task(refuse())
    try:
        yield
    finally:
        stop.set()
        await refusing


async def test_a_replica_is_black_holed(
    ground: Ground, proxy: Proxy, remote: Service, rows: list[Row]
) -> None:
    """Scenario 6, first half: nothing comes back from one replica, and nobody hangs up."""
    fault = behaving(proxy, ["replica-1"], "hole")
    rows.append(await play("6 replica black-holed", ground.load, remote, fault))


async def test_the_primary_is_black_holed(
    ground: Ground, proxy: Proxy, remote: Service, rows: list[Row]
) -> None:
    """Scenario 6, second half: without the primary's word nothing is said beyond the bound."""
    fault = behaving(proxy, ["primary"], "hole")
    rows.append(await play("6 primary black-holed", ground.load, remote, fault))


async def test_a_replica_is_slow(
    ground: Ground, proxy: Proxy, remote: Service, rows: list[Row]
) -> None:
    """Scenario 7: every answer of one replica takes some 200 ms more."""
    fault = behaving(proxy, ["replica-1"], "slow")
    rows.append(await play("7 replica slow by 200 ms", ground.load, remote, fault))


async def test_connections_are_refused(
    ground: Ground, proxy: Proxy, remote: Service, rows: list[Row]
) -> None:
    """Scenario 8: connections to any two of three servers break and are refused, in turns."""
    fault = storm(proxy)
    rows.append(await play("8 connection-refused storm", ground.load, remote, fault))
