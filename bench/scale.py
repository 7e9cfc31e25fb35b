"""``python -m bench.scale [SECTION …]``: the tables of docs/scale.md, which looks past one process.

Each section is measured in turns and replaces its own table in the page and its own part of
docs/scale.json; `plan` measures nothing, it does the arithmetic of the plan from that file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec

from bench import (
    feed,
    feed_polls,
    report,
    scale_database,
    scale_front,
    scale_ledger,
    scale_memory,
    scale_plan,
)
from bench.rig import DATA, FULL, QUICK, Rig, Scale
from bench.scale_common import Section
from loadtests.processes import RigError
from verifier.errors import VerifierError

PAGE = report.DOCS / "scale.md"
FACTS = report.DOCS / "scale.json"

WITH_RIG: dict[str, Callable[[Rig], Section]] = {
    "workers": scale_front.workers,
    "haproxy": scale_front.front,
    "database": scale_database.database,
    "memory": scale_memory.memory,
    "feed": feed.feed,
    "polls": feed_polls.polls,
}
SECTIONS = (*WITH_RIG, "ledger", "plan")
# Three say the spread; the feed takes more, for its bound is narrow.
ROUNDS = 3
# The last one takes some 13 of the 35 minutes of everything, and 20 GB while it is there.
ROWS = (1_000_000, 10_000_000, 50_000_000)
QUICK_ROWS = (50_000, 100_000)


def markers(name: str) -> tuple[str, str]:
    """The lines around the table of a section."""
    return f"<!-- table {name} by make bench-scale -->\n", f"<!-- end of table {name} -->\n"


def put(text: str, name: str, table: str) -> str:
    """A page with the table of a section in the place of the last one. RigError without a place."""
    begin, end = markers(name)
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise RigError(f"{PAGE.name}: expected the lines {begin!r} and {end!r}")
    return f"{head}{begin}\n{table}\n{end}{tail}"


def keep(name: str, section: Section, scale: Scale, seconds: float, folder: Path) -> None:
    """Write a section's part of the JSON and of the page, into ``folder``."""
    page, file = folder / PAGE.name, folder / FACTS.name
    known: dict[str, Any] = msgspec.json.decode(file.read_bytes()) if file.exists() else {}
    facts = report.facts(scale) | {"seconds": round(seconds)}
    known[name] = {"facts": facts, "samples": section.samples, "table": section.rows}
    taken = ""
    if name != "plan":
        taken = (
            f"Taken on {facts['taken_at'][:10]} from {facts['revision']}: {facts['processor']}, "
            f"Python {facts['python']}; median and spread.\n\n"
        )
    text = put(page.read_text(), name, taken + section.markdown())
    file.write_bytes(msgspec.json.format(msgspec.json.encode(known)) + b"\n")
    page.write_text(text)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {' '.join(SECTIONS)}")
    parser.add_argument("--quick", action="store_true", help="small ledgers and short runs")
    parser.add_argument("--rounds", type=int, help="how often everything is measured in turns")
    parser.add_argument("--seconds", type=float, help="length of a measurement")
    parser.add_argument(
        "--rows", type=int, nargs="+", help=f"sizes for the section ledger (default {ROWS})"
    )
    parser.add_argument(
        "--data", type=Path, default=DATA, metavar="DIR", help="where the databases are kept"
    )
    parser.add_argument("--dry", action="store_true", help="print the tables, leave docs/ as it is")
    given = parser.parse_args()
    unknown = set(given.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    return given


def scale(given: argparse.Namespace) -> Scale:
    """How much is measured."""
    base = QUICK if given.quick else FULL
    return msgspec.structs.replace(
        base, rounds=given.rounds or ROUNDS, seconds=given.seconds or base.seconds
    )


def work(given: argparse.Namespace, chosen: Scale) -> dict[str, Callable[[], Section]]:
    """The sections that are wanted, in their order."""
    wanted = given.sections or SECTIONS
    rows = given.rows or (QUICK_ROWS if given.quick else ROWS)

    def with_rig(measure: Callable[[Rig], Section]) -> Section:
        with Rig(chosen, given.data) as rig:
            return measure(rig)

    every: dict[str, Callable[[], Section]] = {
        **{name: partial(with_rig, measure) for name, measure in WITH_RIG.items()},
        "ledger": partial(scale_ledger.measure, given.data, rows, chosen.rounds, chosen.seconds),
        "plan": partial(scale_plan.plan, FACTS),
    }
    return {name: every[name] for name in SECTIONS if name in wanted}


def main() -> int:
    """0 when all tables were written, 2 when something does not work."""
    given = arguments()
    chosen = scale(given)
    try:
        given.data.mkdir(exist_ok=True)
        for name, measure in work(given, chosen).items():
            print(f"{name}", flush=True)
            begin = perf_counter()
            section = measure()
            seconds = perf_counter() - begin
            print(f"\n{section.title}, in {seconds:.0f} s\n\n{section.markdown()}", flush=True)
            if not given.dry:
                keep(name, section, chosen, seconds, report.DOCS)
    except (RigError, VerifierError, ValueError) as error:
        print(f"bench.scale: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
