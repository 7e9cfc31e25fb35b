"""What `make bench` prints and leaves behind: the table, docs/bench.json, docs/bench.png."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from bench.figures import NOT_YET, Result
from bench.rig import Scale
from loadtests.environment import processor, revision
from loadtests.processes import RigError

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "performance.md"
BEGIN, END = "<!-- table by make bench -->\n", "<!-- end of the table -->\n"

_LIBRARIES = ("aiohttp", "asyncpg", "msgspec", "orjson", "uvloop", "fastapi", "uvicorn")


def number(value: float) -> str:
    """As many digits as mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 20 else f"{value:.2f}"


def table(results: Sequence[Result]) -> str:
    """A Markdown table, readable as it is."""
    rows = [("figure", "", "median", "spread", "by CPU", "target", "met", "absolute, this time")]
    for each in results:
        unit = f" {each.unit}" if each.unit else ""
        rows.append(
            (
                each.name,
                each.text,
                f"{number(each.median)}{unit}",
                _spread(each.ratios),
                "" if each.by_cpu is None else number(each.by_cpu),
                f"{'≥' if each.at_least else '≤'} {number(each.target)}{unit}",
                "yes" if each.met else "**no**",
                " ÷ ".join(filter(None, (each.over, each.under))),
            )
        )
    rows += [(name, text, "see load-testing", "", "", "", "", "") for name, text in NOT_YET.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| "
        + " | ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


def _spread(ratios: Sequence[float]) -> str:
    return f"{number(min(ratios))} … {number(max(ratios))}" if ratios else "void"


def facts(scale: Scale) -> dict[str, Any]:
    """What the figures were taken with."""
    return {
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": revision(),
        "python": platform.python_version(),
        "processor": processor(),
        "libraries": {name: version(name) for name in _LIBRARIES},
        "scale": msgspec.to_builtins(scale),
    }


def conditions(known: Mapping[str, Any]) -> str:
    """What the machine was like in the rounds, see bench.latency."""
    latencies = known["memory_latency_ns"]
    return (
        f"Memory latency at the start of the rounds: {median(latencies):.0f} "
        f"({min(latencies):.0f} … {max(latencies):.0f}) ns.\n"
    )


def write(results: Sequence[Result], known: Mapping[str, Any], file: Path) -> None:
    """Everything as JSON; ``known`` are the facts."""
    content = {
        "facts": known,
        "figures": [
            msgspec.to_builtins(each)
            | {"median": each.median, "by_cpu": each.by_cpu, "met": each.met}
            for each in results
        ],
    }
    file.write_bytes(msgspec.json.format(msgspec.json.encode(content)) + b"\n")


def put_into_page(results: Sequence[Result], known: Mapping[str, Any]) -> None:
    """Put the table in the place of the last one in docs/performance.md."""
    head, begin, rest = PAGE.read_text().partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise RigError(f"{PAGE.name}: expected the lines {BEGIN!r} and {END!r}")
    scale = known["scale"]
    taken = (
        f"Taken on {known['taken_at'][:10]} from {known['revision']} over {scale['rows']:,} "
        f"invoices: {known['processor']}, Python {known['python']}, {scale['rounds']} rounds.\n\n"
    )
    PAGE.write_text(f"{head}{BEGIN}\n{taken}{table(results)}\n{conditions(known)}\n{END}{tail}")


# A figure that is far beyond its target must not hide how near the others are.
MOST_SHOWN = 2.0


def plot(results: Sequence[Result], file: Path) -> None:
    """Each figure as a part of its target, with its spread: right of the line it is met."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    shown = [each for each in reversed(results) if each.ratios]
    figure, axes = pyplot.subplots(figsize=(9, 0.5 * len(shown) + 1.2), layout="constrained")
    for place, each in enumerate(shown):
        parts = sorted(_part(each, ratio) for ratio in each.ratios)
        middle = _part(each, each.median)
        color = "#2a7f62" if each.met else "#b3432b"
        axes.barh(place, min(middle, MOST_SHOWN), color=color, height=0.6)
        spread = [min(part, MOST_SHOWN) for part in (parts[0], parts[-1])]
        axes.plot(spread, [place, place], color="black", linewidth=1.5)
        end = min(max(parts[-1], middle), MOST_SHOWN)
        axes.text(end + 0.03, place, number(each.median), va="center")
    axes.axvline(1.0, color="black", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(shown)), [f"{each.name}  {each.text}" for each in shown])
    axes.set_xlabel("part of the target that is reached")
    axes.set_title("line: spread over the rounds; number: median", fontsize="small")
    axes.set_xlim(0, MOST_SHOWN + 0.4)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def _part(each: Result, ratio: float) -> float:
    return ratio / each.target if each.at_least else each.target / max(ratio, each.target / 100)
