"""Starting, using, stopping and changing a cluster."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from pathlib import Path

import pytest

from tests.embedded.support import all_gone, ask, cluster_in, servers_in, until
from tests.support import run
from verifier.embedded import Cluster
from verifier.errors import ClusterError


async def test_starts_from_nothing_and_is_reused(tmp_path: Path) -> None:
    """Replicas show what the primary wrote, and the next start finds all of it without a clone."""
    data = tmp_path / "data"
    async with cluster_in(data, replicas=2) as cluster:
        assert [cluster.primary.role, *(each.role for each in cluster.replicas)] == [
            "primary",
            "replica",
            "replica",
        ]
        await ask(cluster.primary, "CREATE TABLE t AS SELECT generate_series(1, 100) AS n")
        for replica in cluster.replicas:
            await until(replica, "SELECT to_regclass('t') IS NOT NULL", True)
            assert await ask(replica, "SELECT sum(n) FROM t") == 5050
            assert await ask(replica, "SELECT pg_is_in_recovery()")
        pids = servers_in(data)
    assert await all_gone(pids, within=0.1)
    steps: list[str] = []
    async with cluster_in(data, replicas=2, steps=steps) as cluster:
        assert steps == ["starting the primary"]
        for server in (cluster.primary, *cluster.replicas):
            assert await ask(server, "SELECT sum(n) FROM t") == 5050
    await cluster.stop()


async def test_servers_are_durable_private_and_alike(tmp_path: Path) -> None:
    """No server listens on TCP or runs as root, commits reach the disk, text compares bytewise."""
    cluster = cluster_in(tmp_path)
    await cluster.start()
    for server in (cluster.primary, *cluster.replicas):
        assert server.pid is not None
        assert os.stat(f"/proc/{server.pid}").st_uid != 0
        assert os.stat(server.directory).st_mode & 0o077 == 0
        for name, value in {
            "listen_addresses": "",
            "fsync": "on",
            "full_page_writes": "on",
            "synchronous_commit": "on",
            "data_checksums": "on",
            "hot_standby_feedback": "on",
            "server_encoding": "UTF8",
            "TimeZone": "UTC",
            "cluster_name": server.name,
        }.items():
            assert await ask(server, f"SHOW {name}") == value
        assert await ask(server, "SELECT 'B' < 'a' AND 'a' < 'é'")
        assert await ask(server, "SELECT usesuper FROM pg_user WHERE usename = current_user")
    await cluster.stop()


@pytest.mark.parametrize("name", ["primary", "replica-1"])
async def test_killed_server_starts_again(cluster: Cluster, name: str) -> None:
    """After SIGKILL a server starts with all that was committed, and replication goes on."""
    servers = {each.name: each for each in (cluster.primary, *cluster.replicas)}
    victim, table = servers[name], f"killed_{name.replace('-', '_')}"
    await ask(cluster.primary, f"CREATE TABLE {table} AS SELECT 1 AS n")
    victim.kill(signal.SIGKILL)
    assert await victim.wait() == -signal.SIGKILL
    assert victim.pid is None
    if victim is not cluster.primary:
        await ask(cluster.primary, f"INSERT INTO {table} VALUES (2)")
    await victim.start()
    if victim is cluster.primary:
        await ask(cluster.primary, f"INSERT INTO {table} VALUES (2)")
    for replica in cluster.replicas:
        await until(replica, f"SELECT to_regclass('{table}') IS NOT NULL", True)
        await until(replica, f"SELECT sum(n) FROM {table}", 3)


async def test_frozen_server_is_thawed_and_stopped(cluster: Cluster) -> None:
    """A server under SIGSTOP answers nobody; it can go on, and can be stopped as it is."""
    replica = cluster.replicas[0]
    replica.kill(signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ask(replica, "SELECT 1"), 0.2)
    replica.kill(signal.SIGCONT)
    assert await ask(replica, "SELECT 1") == 1
    replica.kill(signal.SIGSTOP)
    await asyncio.wait_for(replica.restart(), 10)
    assert await ask(replica, "SELECT 1") == 1


async def test_number_of_replicas_may_change(tmp_path: Path) -> None:
    """More replicas are cloned; fewer leave no slot that holds WAL back; all may come back."""
    slots = "SELECT string_agg(slot_name, ' ' ORDER BY slot_name) FROM pg_replication_slots"
    async with cluster_in(tmp_path, replicas=1) as cluster:
        await ask(cluster.primary, "CREATE TABLE t AS SELECT 1 AS n")
        assert await ask(cluster.primary, slots) == "replica_1"
    async with cluster_in(tmp_path, replicas=2) as cluster:
        assert await ask(cluster.primary, slots) == "replica_1 replica_2"
        assert await ask(cluster.replicas[1], "SELECT n FROM t") == 1
    async with cluster_in(tmp_path, replicas=0) as cluster:
        assert await ask(cluster.primary, slots) is None
        assert (tmp_path / "replica-2").is_dir()
        await ask(cluster.primary, "UPDATE t SET n = 2")
    async with cluster_in(tmp_path, replicas=1) as cluster:
        assert await ask(cluster.replicas[0], "SELECT n FROM t") == 2


def test_servers_outlive_the_thread_that_started_them(tmp_path: Path) -> None:
    """The cluster may be started in a thread and an event loop that end, and stopped elsewhere."""
    cluster = cluster_in(tmp_path, replicas=0)
    thread = threading.Thread(target=lambda: run(cluster.start()))
    thread.start()
    thread.join()
    assert run(ask(cluster.primary, "SELECT 1")) == 1
    run(cluster.stop())
    assert servers_in(tmp_path) == []


async def test_cancelled_start_leaves_nothing_running(tmp_path: Path) -> None:
    """Ctrl-C during the first start ends what runs, and the next start completes the work."""
    begun = asyncio.Event()

    def notify(text: str) -> None:
        if text.startswith("cloning"):
            begun.set()

    cluster = Cluster(tmp_path, replicas=1, notify=notify)
    start = asyncio.create_task(cluster.start())
    await begun.wait()
    await asyncio.sleep(0.1)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert await all_gone(servers_in(tmp_path), within=2)
    async with cluster_in(tmp_path) as again:
        assert await ask(again.replicas[0], "SELECT 1") == 1


async def test_second_owner_is_refused(cluster: Cluster) -> None:
    """A cluster in use is left alone, and the message names directory and process."""
    data = cluster.primary.directory.parent
    with pytest.raises(ClusterError, match=rf"{data} is in use by process {os.getpid()}"):
        await cluster_in(data).start()
    assert await ask(cluster.primary, "SELECT 1") == 1


def test_number_of_replicas_is_bounded(tmp_path: Path) -> None:
    """A number that the primary has no senders for is refused."""
    with pytest.raises(ClusterError, match="expected 0 to 8"):
        Cluster(tmp_path, replicas=9)


async def test_servers_never_admit_fewer_connections_than_before(tmp_path: Path) -> None:
    """More connections are taken up by the next start; fewer leave all of it, without a clone."""
    data = tmp_path / "data"
    for asked, admitted in ((0, "200"), (334, "334"), (0, "334")):
        created, steps = not data.exists(), list[str]()
        cluster = Cluster(
            data,
            replicas=1,
            connections=asked,
            settings={"shared_buffers": "32MB"},
            notify=steps.append,
        )
        async with cluster:
            assert created or steps == ["starting the primary"]
            for server in (cluster.primary, *cluster.replicas):
                assert await ask(server, "SHOW max_connections") == admitted
