"""What a crash, or an accident, leaves behind is repaired by the next start."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.embedded.support import (
    all_gone,
    ask,
    cluster_in,
    lines_until,
    owner,
    servers_in,
    until,
)
from tests.support import run
from verifier.embedded import Server, replication
from verifier.errors import ClusterError


def crash(data: Path, replicas: int, word: str) -> list[str]:
    """Kill -9 the owner of a cluster when it says ``word``; return all that it said."""
    with owner(data, replicas) as process:
        said = lines_until(process, word)
        pids = servers_in(data)
        process.kill()
        process.wait()
    assert run(all_gone(pids))
    return said


async def works(data: Path, replicas: int = 1) -> list[str]:
    """Start, write, read on each replica; return the steps that the start took."""
    steps: list[str] = []
    async with cluster_in(data, replicas, steps) as cluster:
        await ask(cluster.primary, "CREATE TABLE IF NOT EXISTS works (n int)")
        await ask(cluster.primary, "INSERT INTO works VALUES (1)")
        count = await ask(cluster.primary, "SELECT count(*) FROM works")
        for replica in cluster.replicas:
            await until(replica, "SELECT to_regclass('works') IS NOT NULL", True)
            await until(replica, "SELECT count(*) FROM works", count)
    assert not [name for name in os.listdir(data) if name.endswith((".part", ".old"))]
    return steps


def test_death_of_the_owner_ends_all_servers(tmp_path: Path) -> None:
    """After kill -9 of the owner its servers end by themselves, and nothing committed is lost."""
    with owner(tmp_path, replicas=2) as process:
        lines_until(process, "ready")
        pids = servers_in(tmp_path)
        assert len([pid for pid in pids if "-D" in Path(f"/proc/{pid}/cmdline").read_text()]) == 3
        process.kill()
        process.wait()
        assert run(all_gone(pids, within=5))
    assert run(works(tmp_path, replicas=2)) == ["starting the primary"]


def test_next_start_need_not_wait_for_the_servers_end(stopped: Path) -> None:
    """A start right after the owner's death waits for its servers, even for a frozen one."""
    with owner(stopped) as process:
        lines_until(process, "ready")
        pids = servers_in(stopped)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        process.kill()
        process.wait()
        assert not run(all_gone(pids, within=0.1))
    assert run(works(stopped)) == ["starting the primary"]
    assert run(all_gone(pids, within=1))


@pytest.mark.parametrize("word", ["creating", "starting", "cloning"])
def test_death_of_the_owner_while_it_builds(tmp_path: Path, word: str) -> None:
    """A half-finished initdb, start or clone is swept, and done again."""
    crash(tmp_path, 1, word)
    assert "cloning replica-1: there is no copy yet" in run(works(tmp_path))


def test_remains_of_a_clone_are_swept(stopped: Path) -> None:
    """Whatever the moment at which a clone took the place of the old one was interrupted."""
    (stopped / "replica-1").rename(stopped / "replica-1.old")
    (stopped / "replica-1.part").mkdir()
    assert "cloning replica-1: there is no copy yet" in run(works(stopped))


def test_stale_postmaster_pid_of_a_living_process(stopped: Path) -> None:
    """After a crash another program may have the recorded id; that keeps nothing from starting."""
    # PostgreSQL itself would take any living process of its user for a postmaster.
    alive = os.getpid() if os.geteuid() else 1
    for name, port in (("primary", 5432), ("replica-1", 5433)):
        text = f"{alive}\n/proc/self/cwd\n1\n{port}\n/proc/self/cwd\n\n1 1\nready\n"
        (stopped / name / "postmaster.pid").write_text(text)
        (stopped / name / f".s.PGSQL.{port}.lock").write_text(text)
    assert run(works(stopped)) == ["starting the primary"]


def test_broken_replicas_are_cloned_anew(tmp_path: Path) -> None:
    """A replica that cannot be used is replaced, and the reason is told."""
    missing = {
        "PG_VERSION": "there is no copy yet",
        "standby.signal": "it is not a standby",
        "global/pg_control": "its control file cannot be read",
        "global/pg_filenode.map": "replica-4 fails while the cluster starts",
        "pg_hba.conf": "does not start",
    }
    run(works(tmp_path, len(missing)))
    for number, name in enumerate(missing, 1):
        (tmp_path / f"replica-{number}" / name).unlink()
    steps = run(works(tmp_path, len(missing)))
    for number, reason in enumerate(missing.values(), 1):
        (step,) = [step for step in steps if step.startswith(f"cloning replica-{number}: ")]
        assert reason in step


def test_replica_of_another_primary_is_cloned_anew(tmp_path: Path, stopped: Path) -> None:
    """A replica that came from another system does not stay."""
    run(works(tmp_path / "other", replicas=0))
    (stopped / "primary").rename(tmp_path / "unused")
    (tmp_path / "other" / "primary").rename(stopped / "primary")
    assert "cloning replica-1: it is a copy of another primary" in run(works(stopped))


async def test_promoted_replica_is_cloned_anew(stopped: Path) -> None:
    """A replica that was made a primary, and wrote, follows again with the primary's data."""

    async def promote(replica: Server) -> None:
        await ask(replica, "SELECT pg_promote()")
        await ask(replica, "CREATE TABLE astray (n int)")

    async with cluster_in(stopped) as cluster:
        await promote(cluster.replicas[0])
    (stopped / "replica-1" / "standby.signal").touch()
    steps: list[str] = []
    async with cluster_in(stopped, steps=steps) as cluster:
        assert await ask(cluster.replicas[0], "SELECT to_regclass('astray')") is None
    assert "cloning replica-1: it has left the primary's timeline" in steps


async def test_replica_whose_wal_is_gone_is_cloned_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its slot, or with one that came too late, a replica cannot catch up."""
    monkeypatch.setattr(replication, "STANDSTILL", 1.0)
    async with cluster_in(tmp_path, replicas=2) as cluster:
        for number, replica in enumerate(cluster.replicas, 1):
            await replica.stop()
            sql = f"SELECT active FROM pg_replication_slots WHERE slot_name = 'replica_{number}'"
            await until(cluster.primary, sql, False)
            await ask(cluster.primary, f"SELECT pg_drop_replication_slot('replica_{number}')")
        for _ in range(2):
            await ask(cluster.primary, "SELECT pg_switch_wal()")
            await ask(cluster.primary, "CHECKPOINT")
        await ask(cluster.primary, "SELECT pg_create_physical_replication_slot('replica_2', true)")
    steps = await works(tmp_path, replicas=2)
    assert "cloning replica-1: the primary has not kept the WAL that it needs" in steps
    assert any("cloning replica-2: replica-2 does not get the primary's WAL" in s for s in steps)


def test_replica_is_kept_when_the_primary_dies_meanwhile(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A primary that dies during the start is no reason to throw its replica away."""

    async def streaming(primary: Server, replica: Server) -> None:
        primary.kill(signal.SIGKILL)
        await primary.wait()
        raise ClusterError("the primary has died")

    with monkeypatch.context() as patch:
        patch.setattr(replication, "streaming", streaming)
        with pytest.raises(ClusterError, match="the primary has died"):
            run(cluster_in(stopped).start())
    assert servers_in(stopped) == []
    assert run(works(stopped)) == ["starting the primary"]
