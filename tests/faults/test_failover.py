"""Failovers.

Scenario 5: the primary crashes, a replica is promoted, the old primary comes back as a standby.
Scenario 22: it is silent instead, and then goes on by itself. And one that loses what was
acknowledged.

Replication is synchronous here (``synchronous_standby_names``): with the asynchronous kind a commit
that was acknowledged but not yet sent is lost in a failover, whatever the service does. So writers
write all the time, and the replica that has received most has all that was acknowledged.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.faults.conftest import grounded
from tests.faults.ground import Ground, ask, execute
from tests.faults.scenario import Row, play
from tests.faults.service import Service
from verifier.embedded import Server
from verifier.embedded.server import HERE

# How often each worker is asked for its databases: connections go to workers at random.
_ASKED = 24


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Run a cluster of its own, whose servers change their roles."""
    yield from grounded(tmp_path_factory)


@pytest.fixture(scope="module")
def following(trio: Ground) -> Iterator[Service]:
    """Run a service that knows all three servers, whichever of them is the primary."""
    servers = servers_of(trio)
    any_of_them = one_dsn(servers)
    everywhere = ",".join(server.dsn for server in servers)
    with trio.service(primary_dsn=any_of_them, replica_dsns=everywhere) as service:
        yield service


def servers_of(ground: Ground) -> list[Server]:
    """All servers."""
    return [ground.cluster.primary, *ground.cluster.replicas]


def one_dsn(servers: Sequence[Server]) -> str:
    """A DSN with several hosts; of these the service takes the one that is not in recovery."""
    given = [parse_qs(urlsplit(server.dsn).query) for server in servers]
    hosts = ",".join(each["host"][0] for each in given)
    ports = ",".join(each["port"][0] for each in given)
    return f"postgresql://verifier@/verifier?host={hosts}&port={ports}"


async def follow(standby: Server, primary: Server) -> None:
    """Have a standby stream from another primary."""
    slot = standby.name.replace("-", "_")
    await execute(primary, f"SELECT pg_create_physical_replication_slot('{slot}', true)")
    new = f"ALTER SYSTEM SET primary_conninfo = '{way(standby, primary)}'"
    await execute(standby, new, "SELECT pg_reload_conf()")


def way(standby: Server, primary: Server) -> str:
    """How a standby finds a primary: each one stands in its own directory, next to the others."""
    return (
        f"host={HERE}/../{primary.name} port={primary.port} user=verifier "
        f"application_name={standby.name}"
    )


async def rejoin(ground: Ground, old: Server, primary: Server) -> None:
    """Make an old primary anew from the one that is now, and start it as its standby."""
    await asyncio.to_thread(shutil.rmtree, old.directory)
    old.directory.mkdir(mode=0o700)
    ground.cluster._data.own(old.directory)
    launcher = ground.cluster._launcher
    assert launcher is not None
    await launcher.run(
        [
            old._binaries.program("pg_basebackup"),
            f"--pgdata={HERE}",
            f"--dbname={way(old, primary)}",
            "--no-password",
            "--write-recovery-conf",
            "--wal-method=stream",
            "--create-slot",
            f"--slot={old.name.replace('-', '_')}",
            "--checkpoint=fast",
            "--sync-method=syncfs",
        ],
        old.directory,
        60.0,
    )
    await old.start()


@asynccontextmanager
async def failover(ground: Ground) -> AsyncIterator[None]:
    """The primary dies; a while later a replica takes over, and the other one follows it."""
    old, *replicas = await roles(ground)
    old.kill(signal.SIGKILL)
    yield
    received = {
        replica.name: await ask(replica, "SELECT pg_last_wal_receive_lsn() - '0/0'::pg_lsn")
        for replica in replicas
    }
    chosen, other = sorted(replicas, key=lambda replica: received[replica.name], reverse=True)
    assert await ask(chosen, "SELECT pg_promote(true, 30)")
    await follow(other, chosen)
    # The fault is over: there is a primary again.


async def roles(ground: Ground) -> list[Server]:
    """The primary, then the replicas."""
    standby = {
        server.name: await ask(server, "SELECT pg_is_in_recovery()")
        for server in servers_of(ground)
    }
    return sorted(servers_of(ground), key=lambda server: standby[server.name])


@asynccontextmanager
async def frozen(old: Server, chosen: Server, other: Server) -> AsyncIterator[None]:
    """The primary says nothing any more, nobody hangs up, and later a replica takes over."""
    old.kill(signal.SIGSTOP)
    yield
    assert await ask(chosen, "SELECT pg_promote(true, 30)")
    await follow(other, chosen)


@asynccontextmanager
async def back_by_itself(old: Server, *others: Server) -> AsyncIterator[None]:
    """It goes on as the primary that it was, and the connections to the others break once."""
    old.kill(signal.SIGCONT)
    for server in others:
        await ask(server, END_ALL)
    yield


# What the service has open, wherever it leads.
END_ALL = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE application_name LIKE 'verifier-%'
"""


@asynccontextmanager
async def return_of_the_old(ground: Ground) -> AsyncIterator[None]:
    """The old primary comes back as a standby of the new one."""
    old, *replicas = servers_of(ground)
    (primary,) = [each for each in replicas if not await ask(each, "SELECT pg_is_in_recovery()")]
    await rejoin(ground, old, primary)
    yield


async def databases(service: Service) -> list[tuple[tuple[str, str, bool], ...]]:
    """What the workers say of their databases: name, role and whether it serves."""

    def get() -> tuple[tuple[str, str, bool], ...]:
        url = f"http://127.0.0.1:{service.port}/v1/freshness"
        with urllib.request.urlopen(url, timeout=10) as response:
            said = json.load(response)["databases"]
        return tuple((each["name"], each["role"], each["serving"]) for each in said)

    return [await asyncio.to_thread(get) for _ in range(_ASKED)]


async def test_a_replica_takes_over(trio: Ground, following: Service, rows: list[Row]) -> None:
    """The new primary is followed, and so is the old one as a standby, without a restart."""
    for server in servers_of(trio):
        synchronous = "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'"
        await execute(server, synchronous, "SELECT pg_reload_conf()")
    workers = following.pids()
    rows.append(
        await play("5 primary crashed, replica promoted", trio.load, following, failover(trio))
    )
    fault = return_of_the_old(trio)
    rows.append(
        await play("5 old primary back as standby", trio.load, following, fault, seconds=0.0)
    )
    async with asyncio.timeout(10):
        while True:
            said = await databases(following)
            if all(sum(serving for _, _, serving in each) == 3 for each in said):
                break
            await asyncio.sleep(0.1)
    # The primary serves as such, and as a replica it does not.
    for each in said:
        assert ("primary", "primary", True) in each
        assert ("replica-1", "replica", True) in each
    assert following.pids() == workers


async def test_a_silent_primary_goes_on_by_itself(
    trio: Ground, following: Service, rows: list[Row]
) -> None:
    """The new one is found beside a silent host (B8), and the old one is refused (A3)."""
    old, chosen, other = await roles(trio)
    fault = frozen(old, chosen, other)
    rows.append(await play("22 primary silent, replica promoted", trio.load, following, fault))
    again = back_by_itself(old, chosen, other)
    rows.append(await play("22 old primary goes on by itself", trio.load, following, again))
    # A worker that has just started and is told to write there has only the replicas to know from.
    replicas = f"{chosen.dsn},{other.dsn}"
    with trio.service(primary_dsn=old.dsn, replica_dsns=replicas) as fresh:
        for each in await databases(fresh):
            assert ("primary", "unknown", False) in each
    old.kill(signal.SIGKILL)
    await rejoin(trio, old, chosen)


async def asked(service: Service, question: bytes, token: str) -> list[tuple[str, str]]:
    """Verdict and reason of many single questions with a token, to workers at random."""

    def get() -> tuple[str, str]:
        headers = {"Content-Type": "application/json", "Consistency-Token": token}
        url = f"http://127.0.0.1:{service.port}/v1/verify"
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, question, headers), timeout=10
            ) as response:
                said = json.load(response)
        except urllib.error.HTTPError as error:
            said = json.load(error)
        return said.get("verdict", said.get("code")), said.get("reason", "")

    return [await asyncio.to_thread(get) for _ in range(_ASKED)]


async def cut_off(standby: Server) -> None:
    """Have a standby receive nothing any more."""
    nothing = "ALTER SYSTEM SET primary_conninfo = ''"
    await execute(standby, nothing, "SELECT pg_reload_conf()")
    async with asyncio.timeout(10):
        while await ask(standby, "SELECT count(*) FROM pg_stat_wal_receiver"):
            await asyncio.sleep(0.02)


async def token_of(service: Service, status: bytes) -> str:
    """The token of a change of state."""

    def post() -> str:
        url = f"http://127.0.0.1:{service.port}/v1/ledger/status"
        headers = {"Content-Type": "application/x-ndjson"}
        with urllib.request.urlopen(
            urllib.request.Request(url, status, headers), timeout=10
        ) as response:
            token: str = json.load(response)["token"]
        return token

    return await asyncio.to_thread(post)


async def test_a_token_of_what_a_failover_lost_is_not_honoured(
    trio: Ground, following: Service
) -> None:
    """What no server is known to have carried over is unavailable, never an older state (A4).

    Replication is asynchronous here, and the replicas are cut off when the last change comes.
    """
    old, chosen, other = await roles(trio)
    asynchronous = "ALTER SYSTEM SET synchronous_standby_names = ''"
    await execute(old, asynchronous, "SELECT pg_reload_conf()")
    item = trio.items.slow[0]
    assert item.invoice is not None
    change = {"code": item.invoice.code, "number": item.invoice.number}
    kept = await token_of(following, json.dumps(change | {"status": "voided"}).encode())
    question = item.asking(1)
    # Every worker has seen every server beyond it.
    await asyncio.sleep(1.0)
    for server in (chosen, other):
        await cut_off(server)
    lost = await token_of(following, json.dumps(change | {"status": "normal"}).encode())
    old.kill(signal.SIGKILL)
    assert await ask(chosen, "SELECT pg_promote(true, 30)")
    await follow(other, chosen)
    known = {("unavailable", "other_timeline")}
    async with asyncio.timeout(20):
        # A worker that does not know of the failover yet says "behind".
        while (said := set(await asked(following, question, lost))) != known:
            assert {verdict for verdict, _ in said} == {"unavailable"}
        while {verdict for verdict, _ in await asked(following, question, kept)} != {"match"}:
            pass
    assert set(await asked(following, question, lost)) == known
