"""A part of a core; the kernel's part in it is tried by whoever measures."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from loadtests import quota
from loadtests.processes import RigError


@pytest.fixture
def v1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a tree of files like that of cgroups of the first version."""
    (tmp_path / "cpu.cfs_quota_us").write_text("-1")
    monkeypatch.setattr(quota, "_V1", tmp_path)
    monkeypatch.setattr(Path, "rmdir", lambda self: None)
    return tmp_path


def test_a_command_runs_within_its_quota(v1: Path) -> None:
    """A tenth of a core is 1 ms of every 10, and the process itself is in the group."""
    with quota.quota(0.1) as words:
        (group,) = (each for each in v1.iterdir() if each.is_dir())
        pid = subprocess.run(
            [*words, "sh", "-c", "echo $$"], capture_output=True, text=True, check=True
        ).stdout
    assert (group / "cpu.cfs_period_us").read_text() == "10000"
    assert (group / "cpu.cfs_quota_us").read_text() == "1000"
    assert (group / "cgroup.procs").read_text() == pid


def test_the_second_version_has_both_in_one_file(v1: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quota, then period."""
    monkeypatch.setattr(quota, "_V1", v1 / "none")
    monkeypatch.setattr(quota, "_V2", v1)
    with quota.quota(0.25):
        (group,) = (each for each in v1.iterdir() if each.is_dir())
    assert (group / "cpu.max").read_text() == "2500 10000"


def test_where_there_is_none_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root, or without cgroups."""
    monkeypatch.setattr(quota, "_V1", tmp_path / "none")
    monkeypatch.setattr(quota, "_V2", tmp_path / "nor this")
    with pytest.raises(RigError, match=r"--cores: .*No such file.*takes root"), quota.quota(0.1):
        pass
