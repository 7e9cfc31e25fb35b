"""A part of a core for some processes: a cgroup with a quota, as a pod's CPU limit is one.

A machine of two cores cannot send what three workers carry, but what three with a tenth of a core
each do. To make a cgroup takes root.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from loadtests.processes import RigError

_V1, _V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")

# Kubernetes' is ten times as long, and so are the waits at its end.
_PERIOD = 10_000  # µs


@contextmanager
def quota(cores: float) -> Iterator[Sequence[str]]:
    """A cgroup for as long as the context lasts; a command behind these words runs in it.

    RigError where there can be none.
    """
    with held(cores) as members:
        yield ["sh", "-c", f'echo $$ > {members}; exec "$@"', "sh"]


@contextmanager
def held(cores: float) -> Iterator[Path]:
    """The same; a process whose id is written into this file, once it runs, is in it from then on.

    All must have ended when the context does. RigError where there can be none.
    """
    v1 = (_V1 / "cpu.cfs_quota_us").exists()
    group = (_V1 if v1 else _V2) / f"loadtests-{os.getpid()}"
    allowed = round(cores * _PERIOD)
    try:
        group.mkdir()
    except OSError as error:
        raise RigError(
            f"--cores: {group}: {error.strerror}; a part of a core takes root, and cgroups"
        ) from error
    try:
        if v1:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(allowed))
        else:
            (group / "cpu.max").write_text(f"{allowed} {_PERIOD}")
        yield group / "cgroup.procs"
    except OSError as error:
        raise RigError(f"--cores: {group}: {error.strerror}") from error
    finally:
        group.rmdir()
