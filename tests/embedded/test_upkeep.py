"""Servers that end unasked are started again, for whoever asked for that."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, MutableMapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from tests.embedded.support import ask, cluster_in, servers_in, until
from tests.faults.test_disk import LEFT, ROOM, mount, use_up_segments
from verifier.embedded import Cluster, Server, upkeep
from verifier.embedded import server as server_module
from verifier.embedded.processes import clear, inside, send

Logs = list[MutableMapping[str, Any]]


def named(cluster: Cluster, name: str) -> Server:
    """The server of that name."""
    return next(each for each in (cluster.primary, *cluster.replicas) if each.name == name)


def kill(server: Server) -> int:
    """Kill the postmaster alone, as the kernel does when memory is short; its process id."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    return server.pid or 0


async def noted(condition: Callable[[], object], within: float = 10.0) -> None:
    """Return when a condition holds."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.005)


async def back(server: Server, before: int, within: float = 10.0) -> None:
    """Return when another postmaster has taken its place, and answers."""
    async with asyncio.timeout(within):
        await noted(lambda: server.pid not in {None, before})
        while True:
            with suppress(OSError, asyncpg.PostgresError):
                await ask(server, "SELECT 1")
                return
            await asyncio.sleep(0.02)


async def follows(cluster: Cluster) -> None:
    """Return when a change on the primary has reached the replica."""
    number = await ask(cluster.primary, "UPDATE t SET n = n + 1 RETURNING n")
    await until(cluster.replicas[0], "SELECT n FROM t", number)


@pytest.mark.parametrize("name", ["primary", "replica-1"])
async def test_killed_server_is_started_again(stopped: Path, name: str) -> None:
    """With all that was committed, at its old address; the log says how it ended."""
    with capture_logs() as logs:
        async with cluster_in(stopped) as cluster, cluster.kept(lambda: 0.0):
            server = named(cluster, name)
            dsn = server.dsn
            await follows(cluster)
            await back(server, kill(server))
            await follows(cluster)
            assert server.dsn == dsn
            assert await ask(cluster.replicas[0], "SELECT pg_is_in_recovery()")
    assert servers_in(stopped) == []
    ended, started = logs
    assert (ended["server"], ended["how"]) == (name, "was terminated by signal 9: Killed")
    assert (started["server"], started["event"]) == (name, "server started")


async def test_nobody_asked(stopped: Path) -> None:
    """Without being asked to, a cluster leaves what was killed as it is."""
    async with cluster_in(stopped) as cluster:
        kill(cluster.primary)
        assert await cluster.primary.wait() == -signal.SIGKILL
        await ask(cluster.replicas[0], "SELECT pg_sleep(0.3)::text")
        assert cluster.primary.pid is None


async def test_survivors_of_a_postmaster_are_waited_for(stopped: Path) -> None:
    """No postmaster starts while a backend of the one before is there."""
    async with cluster_in(stopped) as cluster, cluster.kept(lambda: 0.0):
        primary = cluster.primary
        connection = await asyncpg.connect(primary.dsn)
        backend = connection.get_server_pid()
        os.kill(backend, signal.SIGSTOP)
        before = kill(primary)
        await noted(lambda: primary.pid not in {None, before})
        assert backend not in inside([primary.directory])
        await back(primary, before)
        await follows(cluster)
        connection.terminate()


async def test_failed_starts_are_repeated(stopped: Path) -> None:
    """Until one succeeds, with pauses that grow; meanwhile the replica answers, and stays one."""
    control = stopped / "primary" / "global" / "pg_control"
    with capture_logs() as logs:
        async with cluster_in(stopped) as cluster, cluster.kept(lambda: 0.0):
            control.rename(control.with_name("aside"))
            before = kill(cluster.primary)
            await noted(lambda: failed(logs, 3))
            assert await ask(cluster.replicas[0], "SELECT n FROM t") == 1
            assert await ask(cluster.replicas[0], "SELECT pg_is_in_recovery()")
            control.with_name("aside").rename(control)
            await back(cluster.primary, before)
            await follows(cluster)
    assert "pg_control" in failed(logs, 3)[0]["why"]


async def test_full_disk_is_waited_out(stopped: Path) -> None:
    """A primary that has no room for its log comes back when it has, with all that was there."""
    log = stopped / "primary" / "pg_wal"
    with ExitStack() as mounted:
        mount(mounted, log, ROOM["pg_wal"])
        with capture_logs() as logs:
            async with cluster_in(stopped) as cluster, cluster.kept(lambda: 0.0):
                before = cluster.primary.pid or 0
                free = os.statvfs(log)
                with (log / "ballast").open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - LEFT)
                await use_up_segments(cluster.primary)
                await noted(lambda: failed(logs, 1))
                assert await ask(cluster.replicas[0], "SELECT n FROM t") == 1
                (log / "ballast").unlink()
                await back(cluster.primary, before)
                await follows(cluster)
    assert "No space left on device" in failed(logs, 1)[0]["why"]


def failed(logs: Logs, most: int) -> Logs:
    """The starts that failed, once there are so many."""
    found = [each for each in logs if each["event"] == "server not started"]
    return found if len(found) >= most else []


async def test_start_that_cannot_succeed_is_rarely_tried(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From one failure to the next a server waits twice as long."""
    pauses = list[tuple[int, float]]()

    def backoff(failures: int, first: float, longest: float, random: float) -> float:
        pauses.append((failures, longest))
        return 0.0

    monkeypatch.setattr(upkeep, "backoff", backoff)
    async with cluster_in(stopped) as cluster, cluster.kept(lambda: 0.0):
        (stopped / "replica-1" / "global" / "pg_control").unlink()
        kill(cluster.replicas[0])
        await noted(lambda: len(pauses) >= 3)
    assert pauses[:3] == [(1, 10.0), (2, 10.0), (3, 10.0)]


async def test_replica_whose_wal_is_gone_is_given_up(stopped: Path) -> None:
    """It would ask for it for ever: what has to be done is said once, and the others go on."""
    with capture_logs() as logs:
        async with cluster_in(stopped) as cluster:
            replica = cluster.replicas[0]
            replica.kill(signal.SIGKILL)
            await replica.wait()
            slot = "SELECT active FROM pg_replication_slots"
            await until(cluster.primary, slot, False)
            await ask(cluster.primary, "SELECT pg_drop_replication_slot('replica_1')")
            async with cluster.kept(lambda: 0.0):
                await noted(lambda: logs and logs[-1]["event"] == "server given up")
                await noted(lambda: not inside([replica.directory]))
                assert replica.pid is None
                await back(cluster.primary, kill(cluster.primary))
    (given_up,) = [each for each in logs if each["event"] == "server given up"]
    assert given_up["why"] == "the primary has not kept the WAL that it needs"


async def test_all_die_at_once(stopped: Path) -> None:
    """Neither the primary nor its replica waits for the other."""
    async with cluster_in(stopped) as cluster, cluster.kept(lambda: 0.0):
        servers = (cluster.primary, *cluster.replicas)
        before = [each.pid or 0 for each in servers]
        send(inside([each.directory for each in servers]), signal.SIGKILL)
        for each, pid in zip(servers, before, strict=True):
            await back(each, pid)
        await follows(cluster)


async def test_left_while_a_server_starts(stopped: Path) -> None:
    """A stop in the middle of a start leaves no process, and a directory that starts again."""
    with capture_logs() as logs:
        async with cluster_in(stopped) as cluster, cluster.kept(lambda: 0.0):
            before = kill(cluster.primary)
            while cluster.primary.pid in {None, before}:
                await asyncio.sleep(0)
    assert "server started" not in [each["event"] for each in logs]
    assert servers_in(stopped) == []
    async with cluster_in(stopped) as cluster:
        await follows(cluster)


async def test_stop_ends_what_a_killed_postmaster_has_left(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend that computes does not notice by itself that it is alone."""
    monkeypatch.setattr(server_module, "clear", partial(clear, patience=0.2))
    async with cluster_in(stopped) as cluster:
        connection = await asyncpg.connect(cluster.primary.dsn)
        series = "generate_series(1, 1000000)"
        computing = asyncio.ensure_future(
            connection.fetch(f"SELECT count(*) FROM {series} AS a, {series} AS b")
        )
        await until(
            cluster.primary, "SELECT count(*) FROM pg_stat_activity WHERE query ~ 'AS a'", 2
        )
        kill(cluster.primary)
        await cluster.primary.wait()
    assert servers_in(stopped) == []
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await computing
