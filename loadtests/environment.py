"""What something was measured with: the revision, the processor, the libraries. Also bench's."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from os import cpu_count
from pathlib import Path

from loadtests.revisions import ROOT


def revision(of: str | None = None) -> str:
    """The commit of a revision, or of this tree, ``-dirty`` if edited; empty outside of git."""
    return subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", of or "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()


def processor() -> str:
    """The processor by its name, where the system tells it, else its family."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def environment(libraries: Sequence[str]) -> Mapping[str, str | int]:
    """The machine and the versions of some libraries."""
    return {
        "processor": processor(),
        # Not those of this process, which keeps to one while it measures.
        "cores": cpu_count() or 1,
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: version(name) for name in libraries},
    }
