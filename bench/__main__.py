"""``python -m bench [P1 P2 …]``: the figures of docs/performance.md, judged by budget.toml."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import msgspec

from bench import report
from bench.figures import FIGURES, budget, measurements, result, wanted
from bench.latency import memory_latency
from bench.load import counted
from bench.measure import Measures
from bench.peers import golang
from bench.programs import Sample
from bench.rig import FULL, QUICK, Rig, Scale
from loadtests.processes import RigError
from verifier.errors import VerifierError


def rounds(
    measures: Measures, names: list[str]
) -> tuple[dict[str, list[Sample | None]], list[float]]:
    """All measurements in turns; every other round the other way round, against drift.

    With them the memory latency of each round, in nanoseconds.
    """
    samples: dict[str, list[Sample | None]] = defaultdict(list)
    latencies = []
    for number in range(measures.rig.scale.rounds):
        latencies.append(memory_latency())
        print(
            f"round {number + 1} of {measures.rig.scale.rounds}, "
            f"memory latency {latencies[-1]:.0f} ns",
            flush=True,
        )
        for name in names if number % 2 == 0 else _reversed(names):
            sample = counted(name, measures.by_name[name])
            samples[name].append(sample)
            if sample is not None:
                print(f"  {name:<16} {sample.shown}", flush=True)
    return samples, latencies


def _reversed(names: list[str]) -> list[str]:
    # The growth is that of the stream before it.
    turned = [name for name in reversed(names) if name != "stream growth"]
    if "stream growth" in names:
        turned.insert(turned.index("stream") + 1, "stream growth")
    return turned


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="P1", help="only these figures")
    parser.add_argument("--quick", action="store_true", help="a small ledger and short runs")
    parser.add_argument("--rows", type=int, help="invoices in the ledger under test")
    parser.add_argument("--rounds", type=int, help="how often everything is measured in turns")
    parser.add_argument("--seconds", type=float, help="length of a measurement")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="where to leave bench.json and bench.png; without it a full run of all figures goes "
        "to docs/",
    )
    return parser.parse_args()


def scale(given: argparse.Namespace) -> Scale:
    """How much is measured."""
    base = QUICK if given.quick else FULL
    changes = {
        name: getattr(given, name)
        for name in ("rows", "rounds", "seconds")
        if getattr(given, name) is not None
    }
    return msgspec.structs.replace(base, **changes)


def main() -> int:
    """0 when every figure is within its budget, 1 when one is not, 2 when they cannot be taken."""
    given = arguments()
    chosen = scale(given)
    try:
        figures = wanted(given.figures)
        if not golang.available() and any(figure.under == "single go" for figure in figures):
            figures = [figure for figure in figures if figure.under != "single go"]
            print(f"P14 is skipped: {golang.HOW_TO_INSTALL}")
        with Rig(chosen) as rig:
            measures = Measures(rig)
            names = measurements(figures, measures.by_name)
            measures.agree(set(names))
            samples, latencies = rounds(measures, names)
        bounds = budget()
        results = [result(figure, samples, bounds) for figure in figures]
        # Before anything is written, which would make the revision a dirty one.
        known = report.facts(chosen) | {"memory_latency_ns": [round(each) for each in latencies]}
        print(f"\n{report.table(results)}\n{report.conditions(known)}")
        whole = len(figures) == len(FIGURES) and not given.quick
        folder = given.output or (report.DOCS if whole else None)
        if folder is not None:
            folder.mkdir(exist_ok=True)
            report.write(results, known, folder / "bench.json")
            report.plot(results, folder / "bench.png")
            if folder == report.DOCS:
                report.put_into_page(results, known)
    except (RigError, VerifierError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    outside = [each.name for each in results if not each.in_budget]
    if outside:
        print(f"outside the budget of bench/budget.toml: {', '.join(outside)}")
    return 1 if outside else 0


if __name__ == "__main__":
    sys.exit(main())
