"""Where a request's time goes: ``python -m bench.profile [PATH…]``, by py-spy.

Loads the service as its figure does, and writes a flame graph of each path to docs/ and the share
of each function, with all that it calls, to the terminal.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from bench.load import Void
from bench.measure import Measures
from bench.report import DOCS
from bench.rig import FULL, QUICK, Rig
from loadtests.processes import RigError, Server, pinned
from verifier.errors import VerifierError

HERTZ = 400
# A flame graph leaves out what is narrower; the table leaves out what has a smaller share.
SHOWN = 0.01


def record(server: Server, core: int, seconds: float, form: str, file: Path) -> None:
    """Sample a server's stacks while it is under load."""
    command = ["py-spy", "record", "--pid", str(server.pid), "--rate", str(HERTZ)]
    command += ["--duration", str(max(1, round(seconds))), "--format", form]
    # By its name alone: the command line becomes the graph's title.
    command += ["--output", file.name]
    done = subprocess.run(
        pinned(core, command), cwd=file.parent, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RigError(f"py-spy failed:\n{done.stderr[-1000:]}")


@contextmanager
def under_load(load: Callable[[], object]) -> Iterator[None]:
    """Let the load go on in another thread, again and again."""
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            # Sampling slows the generator down; this is no measurement.
            with suppress(Void):
                load()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        stop.set()
        asking.join()


def shares(stacks: str) -> list[tuple[str, float, float]]:
    """Functions with their share of all samples, with and without what they call."""
    within: Counter[str] = Counter()
    itself: Counter[str] = Counter()
    total = 0
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        functions = [f"{frame.rpartition(':')[0]})" for frame in stack.split(";")]
        total += int(count)
        itself[functions[-1]] += int(count)
        for function in set(functions):
            within[function] += int(count)
    return [
        (function, count / total, itself[function] / total)
        for function, count in within.most_common()
        if count >= SHOWN * total
    ]


def profile(measures: Measures, path: str) -> None:
    """Write the flame graph of a path and print its table."""
    rig, name = measures.rig, path.replace(" ", "-")
    server = measures.paths[path]()
    raw = rig.data / f"{name}.stacks"
    load = measures.by_name[path]
    load()  # what it asks is made on first use
    with under_load(load):
        record(server, rig.other, rig.scale.seconds, "raw", raw)
        record(server, rig.other, rig.scale.seconds, "flamegraph", DOCS / f"flame-{name}.svg")
    print(f"\n{path}\n  with what it calls  itself  function")
    for function, within, itself in shares(raw.read_text()):
        print(f"  {within:17.1%}  {itself:6.1%}  {function}")


def main() -> int:
    """Write docs/flame-PATH.svg for each path."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("paths", nargs="*", metavar="PATH")
    parser.add_argument("--quick", action="store_true", help="a small ledger and short runs")
    parser.add_argument("--rows", type=int, help="invoices in the ledger under test")
    given = parser.parse_args()
    # It is installed beside this Python, which need not be on the PATH.
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    if shutil.which("py-spy") is None:
        print("bench: py-spy is not installed (a package for Python)", file=sys.stderr)
        return 2
    scale = QUICK if given.quick else FULL
    scale = msgspec.structs.replace(scale, rows=given.rows or scale.rows)
    try:
        with Rig(scale) as rig:
            measures = Measures(rig)
            for path in given.paths or measures.paths:
                profile(measures, path)
    except (RigError, VerifierError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
