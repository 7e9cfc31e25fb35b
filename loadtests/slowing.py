"""A slower core: a process of the highest priority burns the rest of each millisecond.

A machine of two cores cannot send what three workers carry, but what three with a fifth of a core
each do. A cgroup's quota is no slower core: the kernel looks at it every 4 ms, lets a process go
beyond it, and then has it wait for up to 15 ms, so that p99 tells of the quota. Here whoever runs
on the core waits for less than a millisecond, at every load. It takes root.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter, sleep

from loadtests.processes import RigError, python
from loadtests.revisions import ROOT

# The kernel keeps a twentieth of a second from processes of this priority.
LEAST = 0.05
_PERIOD = 0.001
# Going to sleep and coming back, which leaves the others less.
_TURN = 15e-6


@contextmanager
def slowed(core: int, left: float) -> Iterator[int]:
    """Leave others so much of a core, from LEAST to 1, for as long as the context lasts.

    Yields the id of the process that burns the rest. RigError where nobody may.
    """
    process = subprocess.Popen(
        python("-m", __name__, str(core), str(left)),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "burning\n":
            _, said = process.communicate()
            reason = said.strip().splitlines()[-1:]
            raise RigError(f"--cores: {''.join(reason)}; a part of a core takes root")
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def burn(core: int, left: float, parent: int) -> None:
    """Burn all but ``left`` of each period of a core until the parent has ended."""
    os.sched_setaffinity(0, {core})
    highest = os.sched_get_priority_max(os.SCHED_FIFO)
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(highest))
    print("burning", flush=True)
    end = perf_counter()
    while os.getppid() == parent:
        # After a stop of the machine there is nothing to catch up with.
        end = max(end + _PERIOD, perf_counter())
        until = end - left * _PERIOD - _TURN
        while perf_counter() < until:
            pass
        sleep(max(0.0, end - perf_counter()))


if __name__ == "__main__":
    burn(int(sys.argv[1]), float(sys.argv[2]), os.getppid())
