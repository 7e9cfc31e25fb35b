"""Runs hot paths in a process of its own, for ``counts`` and ``compare``.

``count ROUNDS PATTERN…`` forks a child for each case, which runs it so often and ends: under
cachegrind each child leaves a file of its own. A first child does nothing: what it counts is what
all of them share. ``time PATTERN…`` reads lines ``case rounds`` and answers each with nanoseconds.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable
from time import perf_counter_ns

from bench.cases import cases

Work = Callable[[], object]


def built(patterns: list[str]) -> tuple[dict[str, Work], dict[str, str]]:
    """The work of each case that fits a pattern, and the reason for each that cannot be built."""
    found, missing = cases(patterns)
    works: dict[str, Work] = {}
    for name, build in found.items():
        try:
            work = build()
            work()  # what is imported, compiled or remembered on first use is not counted
        except (AssertionError, AttributeError, TypeError, ValueError) as error:
            # The hot paths are the new tree's: an older package may not have what they call.
            missing[name] = f"{type(error).__name__}: {error}"
        else:
            works[name] = work
    return works, missing


def _say(message: object) -> None:
    sys.stdout.write(f"{json.dumps(message)}\n")
    sys.stdout.flush()


def _child(work: Work | None, rounds: int) -> int:
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        if status:
            raise SystemExit(f"a case ended with status {status}")
        return pid
    if work is not None:
        for _ in range(rounds):
            work()
    os._exit(0)


def count(rounds: int, patterns: list[str]) -> None:
    """Write which process ran what."""
    works, missing = built(patterns)
    # A collection that falls on one side of a border or the other would be counted or not.
    gc.collect()
    gc.freeze()
    pids = {name: _child(work, rounds) for name, work in works.items()}
    _say({"pids": pids, "nothing": _child(None, 0), "missing": missing})


def time(patterns: list[str]) -> None:
    """Answer one line with another until the input ends."""
    works, missing = built(patterns)
    gc.collect()
    gc.freeze()
    _say({"cases": list(works), "missing": missing})
    for line in sys.stdin:
        name, rounds = line.split()
        work, times = works[name], range(int(rounds))
        begin = perf_counter_ns()
        for _ in times:
            work()
        _say(perf_counter_ns() - begin)


if __name__ == "__main__":
    if sys.argv[1] == "count":
        count(int(sys.argv[2]), sys.argv[3:])
    else:
        time(sys.argv[2:])
