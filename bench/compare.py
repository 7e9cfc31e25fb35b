"""Two revisions against each other: ``python -m bench.compare REV [NEW]``; NEW is the work tree.

Each revision runs the hot paths of its own ``bench``, so that they may be compared whatever has
been moved or renamed in between; those that both have by name are. Judged is the count of
instructions, which repeats to a tenth of a percent, so that its bound can be narrow; times are
taken in turns on one core and shown with the interval that holds their median ratio with 99 %. A
time is judged too, by a wider bound and only when a second look agrees: for what waits instead of
working, and for machines without valgrind. Bounds stand in budget.toml.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from math import comb
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from bench.counts import HOW_TO_INSTALL, ToolError, available, count, environment
from loadtests.revisions import ROOT, NoRevision, export

BUDGET = Path(__file__).parent / "budget.toml"

# What a revision is measured with.
PACKAGES = ("verifier", "bench")

# Pairs of times for each case at the first look; the second one takes three times as many.
PAIRS = 16
# One time of a case takes about so long: long beside a tick of the clock and a switch of process.
SAMPLE_NS = 4_000_000
# What CI compares, within a minute: a kind and a shape of each path.
HOTTEST = [
    "cache/get",
    "cache/put",
    "claim/digital_ordinary",
    "claim/vat_e_ordinary",
    "codec/*",
    "line/canonical",
    "loader/*",
    "qr/parse",
    "record/*",
    "stream/*",
    "verdict/*",
    "verifier/*",
]
CONFIDENCE = 0.99


# In the message of a commit that is slower on purpose, with the reason.
ACCEPTED = re.compile(r"^Bench: slower because \S.*", re.MULTILINE)


class Bounds(msgspec.Struct, frozen=True):
    """How much more a hot path of the new revision may take: ratios of counts and of times."""

    instructions: float
    times: float


class Times(msgspec.Struct, frozen=True):
    """The median of the ratios new ÷ old, and the interval that holds it with CONFIDENCE."""

    ratio: float
    low: float
    high: float


class Row(msgspec.Struct):
    """One hot path in both revisions; None where it was not measured."""

    name: str
    old: float | None = None
    new: float | None = None
    times: Times | None = None
    slower: bool = False

    @property
    def instructions(self) -> float | None:
        """Ratio of the counts, new ÷ old."""
        return self.new / self.old if self.new is not None and self.old else None


def bounds(section: str) -> Bounds:
    """The bounds of a section of budget.toml, ``compare`` or ``parent``."""
    return msgspec.convert(tomllib.loads(BUDGET.read_text())[section], Bounds)


def interval(ratios: Iterable[float]) -> Times:
    """Median and its interval by order statistics: no shape of the noise is assumed."""
    ordered = sorted(ratios)
    size = len(ordered)
    skipped, outside = 0, 0.0
    while skipped < size // 2:
        outside += 2 * comb(size, skipped) / 2**size
        if outside > 1 - CONFIDENCE:
            break
        skipped += 1
    at = max(0, skipped - 1)
    return Times(median(ordered), ordered[at], ordered[size - 1 - at])


class Runner:
    """A driver that waits for cases to time, on the first core that we may use."""

    def __init__(self, tree: Path, patterns: Sequence[str]) -> None:
        core = str(min(os.sched_getaffinity(0)))
        self._process = subprocess.Popen(
            ["taskset", "-c", core, sys.executable, "-m", "bench.driver", "time", *patterns],
            cwd=tree,
            env=environment(tree),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        told = self._read()
        self.cases: list[str] = told["cases"]
        self.missing: Mapping[str, str] = told["missing"]

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def nanoseconds(self, name: str, rounds: int) -> int:
        """Run a case so often."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name} {rounds}\n")
        self._process.stdin.flush()
        taken: int = self._read()
        return taken

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ToolError(f"a driver ended with status {self._process.wait()}")
        return json.loads(line)


def in_turns(old: Runner, new: Runner, name: str, pairs: int) -> Times:
    """Time a case in both, each going first in every other pair."""
    rounds = max(1, SAMPLE_NS // max(1, old.nanoseconds(name, 1)))
    ratios = []
    for pair in range(pairs):
        turns = (old, new) if pair % 2 else (new, old)
        taken = {runner: runner.nanoseconds(name, rounds) for runner in turns}
        ratios.append(taken[new] / taken[old])
    return interval(ratios)


def compare(
    old: Path, new: Path, patterns: Sequence[str], limits: Bounds, pairs: int = PAIRS
) -> tuple[list[Row], dict[str, str]]:
    """Measure both trees; also returns why some hot paths could not be compared."""
    rows: dict[str, Row] = {}
    missing: dict[str, str] = {}
    if available():
        # Side by side: a neighbour takes time, but no instructions.
        with ThreadPoolExecutor() as threads:
            before, after = threads.map(lambda tree: count(tree, patterns), (old, new))
        missing |= before.missing | after.missing
        for name, instructions in after.instructions.items():
            row = rows[name] = Row(name, before.instructions.get(name), instructions)
            row.slower = (row.instructions or 0) > limits.instructions
    with ExitStack() as stack:
        earlier = stack.enter_context(Runner(old, patterns))
        later = stack.enter_context(Runner(new, patterns))
        missing |= {**earlier.missing, **later.missing}
        for name in later.cases:
            if name not in earlier.cases:
                continue
            row = rows.setdefault(name, Row(name))
            row.times = in_turns(earlier, later, name, pairs)
            if row.times.low > limits.times:
                row.times = in_turns(earlier, later, name, 3 * pairs)
                row.slower |= row.times.low > limits.times
    return list(rows.values()), missing


def show(rows: Sequence[Row], missing: Mapping[str, str], limits: Bounds) -> None:
    """Print the table and the verdict."""
    width = max((len(row.name) for row in rows), default=8)
    print(f"{'hot path':<{width}}  {'instructions':>12}  {'ratio':>6}  {'time':>6}  99 % interval")
    for row in rows:
        counted = "-" if row.new is None else f"{row.new:,.0f}"
        ratio = "-" if row.instructions is None else f"{row.instructions:.3f}"
        times = row.times
        timed = f"{times.ratio:6.3f}  {times.low:.3f} … {times.high:.3f}" if times else "     -"
        print(
            f"{row.name:<{width}}  {counted:>12}  {ratio:>6}  {timed}"
            f"{'  SLOWER' if row.slower else ''}"
        )
    for name, reason in missing.items():
        print(f"not compared: {name}: {reason}")
    if not available():
        print(f"no instructions were counted: {HOW_TO_INSTALL}")
    print(
        f"bounds: instructions × {limits.instructions}, times × {limits.times} by two looks "
        f"(budget.toml)"
    )


def reason(revision: str) -> str:
    """The line by which a commit since ``revision`` says why it is slower; empty without one."""
    log = ["git", "-C", str(ROOT), "log", "--format=%B", f"{revision}..HEAD"]
    said = subprocess.run(log, capture_output=True, text=True, check=False).stdout
    found = ACCEPTED.search(said)
    return found.group() if found else ""


def main() -> None:
    """Exit code 1 when a hot path became slower, 2 when nothing could be compared.

    With ``--parent``, 0 when there is no parent here, or a commit says why it is slower.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("old", help="revision, or folder with the package")
    parser.add_argument("new", nargs="?", default="", help="the same; without it the work tree")
    parser.add_argument("--only", action="append", metavar="PATTERN", help="such as 'codec/*'")
    parser.add_argument(
        "--parent",
        action="store_true",
        help="CI's form: fewer paths, wide bounds, no complaint when there is no such revision",
    )
    arguments = parser.parse_args()
    limits = bounds("parent" if arguments.parent else "compare")
    with tempfile.TemporaryDirectory(prefix="bench-compare-") as folder:
        try:
            old = export(arguments.old, PACKAGES, Path(folder) / "old")
            new = export(arguments.new, PACKAGES, Path(folder) / "new")
            patterns = arguments.only or (HOTTEST if arguments.parent else ["*"])
            rows, missing = compare(old, new, patterns, limits)
        except NoRevision as error:
            print(f"no revision to compare with (a first commit, or a shallow clone): {error}")
            sys.exit(0 if arguments.parent else 2)
        except ToolError as error:
            print(f"nothing compared: {error}")
            sys.exit(2)
    show(rows, missing, limits)
    slower = any(row.slower for row in rows)
    if slower and arguments.parent and (said := reason(arguments.old)):
        print(f"accepted: {said}")
        slower = False
    sys.exit(slower)


if __name__ == "__main__":
    main()
