"""Tests of DSNs with several hosts, over real servers and one that says nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from tests.ledger.support import blocks, config, line, started, until
from tests.support import Database, writer_of
from verifier.database.connections import Role, open_reader
from verifier.database.hosts import Contact, find, single_hosts
from verifier.database.scouts import Scouts, scouted, survey
from verifier.database.timelines import Timelines
from verifier.errors import ConfigError, Unavailable


@pytest.mark.parametrize(
    ("dsn", "hosts"),
    [
        ("postgresql://u:p@one/db", ["postgresql://u:p@one/db"]),
        ("postgresql:///db", ["postgresql:///db"]),
        (
            "postgresql://u:p%2C@one:1,two/db?sslmode=require",
            ["postgresql://u:p%2C@one:1/db?sslmode=require", "postgresql://u:p%2C@two/db?sslmode=require"],
        ),
        (
            "postgresql://u@/db?host=%2Ftmp%2Fa,/b&port=1,2",
            ["postgresql://u@/db?host=%2Ftmp%2Fa&port=1", "postgresql://u@/db?host=%2Fb&port=2"],
        ),
        (
            "postgresql:///db?host=/a,/b&port=7",
            ["postgresql:///db?host=%2Fa&port=7", "postgresql:///db?host=%2Fb&port=7"],
        ),
        ("postgresql:///db?host=/a,/b", ["postgresql:///db?host=%2Fa", "postgresql:///db?host=%2Fb"]),
    ],
)  # fmt: skip
def test_each_host_gets_a_dsn(dsn: str, hosts: list[str]) -> None:
    """Everything but the host is the same."""
    assert single_hosts(dsn) == hosts


def test_ports_must_fit_the_hosts() -> None:
    """Three hosts with two ports are a mistake, and said to be one."""
    with pytest.raises(ConfigError, match="3 hosts and 2 ports"):
        single_hosts("postgresql:///db?host=a,b,c&port=1,2")


def several(*dsns: str) -> str:
    """One DSN with the hosts of others."""
    asked = [parse_qs(urlsplit(dsn).query) for dsn in dsns]
    hosts, ports = (",".join(each[name][0] for each in asked) for name in ("host", "port"))
    return urlsplit(dsns[0])._replace(query=f"host={hosts}&port={ports}").geturl()


@contextmanager
def silent() -> Iterator[tuple[str, int]]:
    """A host that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[:2]


def beside_a_silent_host(place: tuple[str, int], dsn: str) -> str:
    """A DSN whose first host is silent."""
    asked = parse_qs(urlsplit(dsn).query)
    query = f"host={place[0]},{asked['host'][0]}&port={place[1]},{asked['port'][0]}"
    return urlsplit(dsn)._replace(query=query).geturl()


async def found(
    database: Database, role: Role, dsns: list[str], timelines: Timelines | None = None
) -> Contact:
    """What is found, with a bound of one second for each host."""

    async def connect(dsn: str) -> asyncpg.Connection:
        return await open_reader(dsn, config(database).databases)

    async with asyncio.timeout(5):
        contact = await find(dsns, role, connect, 1.0, timelines or Timelines())
    contact.connection.terminate()
    return contact


async def test_the_host_of_the_role_is_found(ledger: Database) -> None:
    """Of several, the primary is the one that is not in recovery, and a replica one that is."""
    dsns = [*ledger.replica_dsns, ledger.primary_dsn]
    contact = await found(ledger, "primary", dsns)
    assert (contact.dsn, contact.in_recovery) == (ledger.primary_dsn, False)
    assert (await found(ledger, "replica", dsns)).in_recovery


async def test_without_one_of_the_role_another_is_found(ledger: Database) -> None:
    """The caller sees what is there, and can say so."""
    assert (await found(ledger, "primary", list(ledger.replica_dsns))).in_recovery
    assert not (await found(ledger, "replica", [ledger.primary_dsn])).in_recovery


async def test_hosts_that_fail_are_told_of(ledger: Database) -> None:
    """When none answers, the error is that of a host."""
    with pytest.raises(OSError, match=r"not known|resolution|address"):
        await found(ledger, "primary", ["postgresql://nowhere.invalid/db"] * 2)


async def test_a_primary_that_is_new_enough_is_not_kept_waiting_by_a_silent_host(
    ledger: Database,
) -> None:
    """Once the highest timeline is known, the first primary on it will do (B8)."""
    timelines = Timelines()
    contact = await found(ledger, "primary", [ledger.primary_dsn])
    timelines.noticed(contact.cluster, contact.timeline)
    with silent() as place:
        dsns = single_hosts(beside_a_silent_host(place, ledger.primary_dsn))
        begun = asyncio.get_running_loop().time()
        await found(ledger, "primary", dsns, timelines)
        assert asyncio.get_running_loop().time() - begun < 1.0


@pytest.mark.parametrize("role", ["primary", "replica"])
async def test_a_silent_first_host_does_not_keep_a_database_out(
    ledger: Database, role: str
) -> None:
    """The later host serves, and is written, however long the first one is silent (B8)."""
    with silent() as place:
        dsns = (
            {"primary_dsn": beside_a_silent_host(place, ledger.primary_dsn)}
            if role == "primary"
            else {
                "replica_dsns": tuple(
                    beside_a_silent_host(place, dsn) for dsn in ledger.replica_dsns
                )
            }
        )
        async with started(ledger, **dsns) as it:
            await it.write(line(1))
            await until(lambda: all(it.serving()))


async def test_a_host_that_nobody_watches_is_heard(ledger: Database) -> None:
    """What a host shows to which the watch does not lead counts as well (A3)."""
    dsn = several(ledger.primary_dsn, ledger.replica_dsns[0])
    hosts = scouted((dsn, ledger.replica_dsns[1]))
    assert len(hosts) == 2
    timelines = Timelines(hosts)
    scouts = Scouts(hosts, timelines, config(ledger).databases)
    scouts.start()
    async with asyncio.timeout(5):
        await timelines.heard()
    contact = await found(ledger, "primary", [ledger.primary_dsn])
    assert timelines.highest(contact.cluster) == contact.timeline
    await scouts.close()


async def test_hosts_that_are_away_are_heard_out_too(ledger: Database) -> None:
    """A witness that does not answer keeps nobody waiting for ever."""
    timelines = Timelines(["postgresql://nowhere.invalid/db"])
    scouts = Scouts(["postgresql://nowhere.invalid/db"], timelines, config(ledger).databases)
    scouts.start()
    async with asyncio.timeout(5):
        await timelines.heard()
    await scouts.close()


async def test_a_writer_by_itself_asks_the_replicas_first(ledger: Database) -> None:
    """An import must not write to a primary that a replica knows to be left behind."""
    contact = await found(ledger, "primary", [ledger.primary_dsn])
    timelines = Timelines()
    await survey(ledger.replica_dsns, timelines, config(ledger).databases)
    assert timelines.highest(contact.cluster) == contact.timeline
    writer = writer_of(config(ledger))
    await writer.ingest(blocks([line(1)]))
    assert writer._primary._timelines.highest(contact.cluster) == contact.timeline
    writer._primary._timelines.noticed(contact.cluster, contact.timeline + 1)
    with pytest.raises(Unavailable, match="old_timeline"):
        await writer.ingest(blocks([line(2)]))
    await writer.close()
