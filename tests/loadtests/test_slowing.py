"""A core of which others have only a part."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from loadtests import slowing
from loadtests.processes import RigError
from loadtests.slowing import slowed
from tests.support import require_tool


@pytest.fixture
def as_root() -> None:
    """Only root may have such a priority, and not in every container."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        require_tool("the right to a priority (root)", found=False)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@pytest.mark.usefixtures("as_root")
def test_what_burns_has_the_highest_priority_on_its_core_alone() -> None:
    """So nobody there runs beside it, and nobody elsewhere notices it."""
    core = min(os.sched_getaffinity(0))
    with slowed(core, 0.5) as pid:
        assert os.sched_getscheduler(pid) == os.SCHED_FIFO
        assert os.sched_getaffinity(pid) == {core}


@pytest.mark.usefixtures("as_root")
def test_it_burns_what_is_not_left() -> None:
    """Half of a core, by the kernel's own count; its moments are absolute, so that none drift."""
    with slowed(min(os.sched_getaffinity(0)), 0.5) as pid:
        begin, before = monotonic(), _seconds(pid)
        while _seconds(pid) - before < 0.2:
            os.sched_yield()
        burnt = (_seconds(pid) - before) / (monotonic() - begin)
    assert 0.1 < burnt < 0.6


@pytest.mark.usefixtures("as_root")
def test_it_ends_with_the_context() -> None:
    """And nobody waits for a process that has ended."""
    with slowed(min(os.sched_getaffinity(0)), 0.9) as pid:
        pass
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.usefixtures("as_root")
def test_it_ends_with_who_has_started_it() -> None:
    """However that ends: otherwise the machine is slow for good."""
    core = min(os.sched_getaffinity(0))
    code = (
        "import os, signal\n"
        "from loadtests.slowing import slowed\n"
        f"with slowed({core}, 0.9) as pid:\n"
        "    print(pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    pid = int(ended.stdout)
    until = monotonic() + 10
    while Path(f"/proc/{pid}/status").exists() and monotonic() < until:
        if "State:\tZ" in Path(f"/proc/{pid}/status").read_text():
            return
    assert not Path(f"/proc/{pid}").exists()


def test_where_nobody_may_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root the reason of the kernel is there, and what it takes."""
    monkeypatch.setattr(
        slowing, "python", lambda *_: [sys.executable, "-c", "import sys; sys.exit('not you')"]
    )
    with pytest.raises(RigError, match=r"^--cores: not you; .* takes root$"), slowed(0, 0.5):
        pass


def _seconds(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
