"""Instructions of each hot path, by cachegrind: ``python -m bench.counts [PATTERN…]``.

A wall clock on a shared machine drifts by more than what a change costs; the count of executed
instructions is the same in every run, to a tenth of a percent. It knows nothing of memory and of
waiting, so times stand beside it (compare.py).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from loadtests.revisions import ROOT

ROUNDS = 2
HOW_TO_INSTALL = "valgrind is not installed (Debian's package of that name)"


class ToolError(Exception):
    """A tool is missing or failed; the message is for the terminal."""


class Counts(msgspec.Struct, frozen=True):
    """Instructions per round by case, and why the others are missing."""

    instructions: dict[str, float]
    missing: dict[str, str]


def environment(tree: Path) -> Mapping[str, str]:
    """What a driver runs in: the package of ``tree``, and dicts that are laid out the same."""
    return os.environ | {
        "PYTHONPATH": str(tree),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def available() -> bool:
    """Whether instructions can be counted here."""
    return shutil.which("valgrind") is not None


def count(tree: Path, patterns: Sequence[str], rounds: int = ROUNDS) -> Counts:
    """Count the hot paths of ``bench`` with the package ``verifier`` that is in ``tree``.

    Raises ToolError when there is no valgrind, or it cannot run this Python.
    """
    if not available():
        raise ToolError(HOW_TO_INSTALL)
    with tempfile.TemporaryDirectory(prefix="bench-counts-") as folder:
        command = [
            "valgrind",
            "--tool=cachegrind",
            "--quiet",
            "--cache-sim=no",
            "--branch-sim=no",
            f"--cachegrind-out-file={folder}/%p",
            sys.executable,
            "-m",
            "bench.driver",
            "count",
            str(rounds),
            *patterns,
        ]
        done = subprocess.run(
            command, cwd=tree, env=environment(tree), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ToolError(f"the driver failed in {tree}:\n{done.stderr[-2000:]}")
        told = json.loads(done.stdout)
        shared = total(Path(folder) / str(told["nothing"]))
        return Counts(
            {
                name: (total(Path(folder) / str(pid)) - shared) / rounds
                for name, pid in told["pids"].items()
            },
            told["missing"],
        )


def total(file: Path) -> int:
    """The instructions that a file of cachegrind tells."""
    last = file.read_text().rstrip().rpartition("\n")[2]
    return int(last.removeprefix("summary:"))


def main() -> None:
    """Print the counts of this tree."""
    counted = count(ROOT, sys.argv[1:] or ["*"])
    width = max(map(len, counted.instructions), default=0)
    print(f"{'hot path':<{width}}  instructions a round")
    for name, instructions in counted.instructions.items():
        print(f"{name:<{width}}  {instructions:>14,.0f}")
    for name, reason in counted.missing.items():
        print(f"{name}: not counted: {reason}")


if __name__ == "__main__":
    try:
        main()
    except ToolError as error:
        sys.exit(f"bench: {error}")
