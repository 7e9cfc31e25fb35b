"""Directories that cannot be used, and those that are awkward but can."""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.embedded.support import (
    all_gone,
    ask,
    cluster_in,
    interpreter,
    lines_until,
    owner,
    servers_in,
)
from tests.support import require_tool, run
from verifier.embedded import directory
from verifier.embedded.binaries import Account
from verifier.embedded.directory import DataDirectory
from verifier.errors import ClusterError


async def refused(data: Path) -> str:
    """Return the message with which a start is refused."""
    with pytest.raises(ClusterError) as error:
        await cluster_in(data).start()
    return str(error.value)


async def test_foreign_directory_is_left_as_it_is(tmp_path: Path) -> None:
    """A directory with other things in it is named, with one of them, and nothing is added."""
    (tmp_path / "thesis.tex").write_text("x")
    message = await refused(tmp_path)
    assert str(tmp_path) in message
    assert "thesis.tex" in message
    assert os.listdir(tmp_path) == ["thesis.tex"]


async def test_file_is_no_directory(tmp_path: Path) -> None:
    """A file in the place of the directory is named."""
    (tmp_path / "file").write_text("x")
    assert str(tmp_path / "file") in await refused(tmp_path / "file")
    assert str(tmp_path / "file") in await refused(tmp_path / "file" / "data")


async def test_place_that_cannot_be_written() -> None:
    """A place where no directory can be made is named."""
    assert "/proc/verifier-data" in await refused(Path("/proc/verifier-data"))


@pytest.mark.parametrize("marker", ['{"format": 2}', "[]", "not JSON"])
async def test_other_format(tmp_path: Path, marker: str) -> None:
    """A directory of a newer program, or with a broken marker, is not touched."""
    (tmp_path / "cluster.json").write_text(marker)
    assert "expects format 1" in await refused(tmp_path)


async def test_other_release_of_postgresql(tmp_path: Path) -> None:
    """Data of another major version is kept, and both versions are named."""
    (tmp_path / "cluster.json").write_text('{"format": 1}')
    (tmp_path / "primary").mkdir()
    (tmp_path / "primary" / "PG_VERSION").write_text("17\n")
    message = await refused(tmp_path)
    assert "PostgreSQL 17" in message
    assert "18." in message
    (tmp_path / "primary" / "PG_VERSION").unlink()
    assert "primary is not a PostgreSQL data directory" in await refused(tmp_path)


async def test_primary_is_never_made_anew_beside_replicas(tmp_path: Path) -> None:
    """Without its primary, a replica may hold the only copy: nothing is overwritten."""
    (tmp_path / "cluster.json").write_text('{"format": 1}')
    (tmp_path / "replica-1").mkdir()
    assert f"{tmp_path / 'primary'} is missing" in await refused(tmp_path)


async def test_broken_primary_speaks_through_its_log(stopped: Path) -> None:
    """A primary that cannot start is never repaired by force; PostgreSQL's own words are shown."""
    (stopped / "primary" / "global" / "pg_control").write_bytes(b"")
    message = await refused(stopped)
    assert str(stopped / "primary") in message
    assert "pg_control" in message
    assert servers_in(stopped) == []


def test_long_and_odd_paths_work(tmp_path: Path) -> None:
    """Spaces, commas and a path beyond the length of a socket address do no harm."""
    data = tmp_path / "a, b" / ("long" * 30)
    cluster = cluster_in(data)
    run(cluster.start())
    assert run(ask(cluster.replicas[0], "SELECT 1")) == 1
    (host,) = parse_qs(urlsplit(cluster.primary.dsn).query)["host"]
    assert len(host) < 107 < len(str(data))
    assert Path(host).samefile(cluster.primary.directory)
    run(cluster.stop())
    assert not Path(host).parent.is_symlink()


async def test_directory_may_be_moved(stopped: Path) -> None:
    """No path is written down, so a copy in another place, of another owner, starts as it is."""
    steps: list[str] = []
    async with cluster_in(stopped, steps=steps) as cluster:
        assert await ask(cluster.replicas[0], "SELECT n FROM t") == 1
    assert steps == ["starting the primary"]


def test_lock_waits_for_the_children_of_a_dead_owner(tmp_path: Path) -> None:
    """A lock that only a child of its dead owner still holds is waited for, within a bound."""
    first = DataDirectory(tmp_path)
    first.open()
    lock = first._lock
    assert lock is not None
    # The child has the lock's open file; its owner's id becomes one that cannot exist.
    with subprocess.Popen(["sleep", "0.3"], pass_fds=[lock]):
        (tmp_path / "lock").write_text(f"{2**30}\n")
        os.close(lock)
        second = DataDirectory(tmp_path)
        begin = time.monotonic()
        second.open()
        assert 0.1 < time.monotonic() - begin < directory.LOCK_PATIENCE
        second.close()


@pytest.fixture
def nobody() -> Account:
    """Return a normal user that can run this Python."""
    entry = pwd.getpwnam("nobody")
    user = Account(entry.pw_uid, entry.pw_gid, entry.pw_name)
    require_tool("root, who alone can become another user,", found=os.geteuid() == 0)
    require_tool("a Python of this version that nobody can run", found=bool(interpreter(user)))
    return user


@pytest.fixture
def open_path() -> Iterator[Path]:
    """Make a directory that every user can reach, unlike tmp_path."""
    with tempfile.TemporaryDirectory(prefix="verifier-test-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_normal_user_runs_its_own_cluster(open_path: Path, nobody: Account) -> None:
    """Without root, servers run as the user; root may use the same directory, and back again."""
    os.chown(open_path, nobody.uid, nobody.gid)
    data = open_path / "data"
    for turn, runner in enumerate((nobody, None, nobody)):
        with owner(data, user=runner) as process:
            said = lines_until(process, "ready")
            assert ("creating the primary" in said) == (turn == 0)
            pids = servers_in(data)
            assert {os.stat(f"/proc/{pid}").st_uid for pid in pids} == {nobody.uid}
            process.kill()
        assert run(all_gone(pids))


def test_user_cannot_take_the_directory_of_another(open_path: Path, nobody: Account) -> None:
    """A normal user is told whose directory it is."""
    with owner(open_path, user=nobody) as process:
        (error,) = lines_until(process, "verifier.errors.ClusterError")[-1:]
    assert f"{open_path} belongs to user root (0)" in error
