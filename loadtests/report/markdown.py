"""``report.md``: the whole run for whoever reads it in a terminal or a review."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from loadtests.report.plots import Plot
from loadtests.report.tables import Table, tables
from loadtests.report.verdict import Verdict
from loadtests.result import Result

# What Markdown or HTML in it would take for more than a letter.
_SPECIAL = re.compile(r"([\\`*\[\]<|&])")


def escaped(text: str) -> str:
    """Text from outside, on one line, that means nothing to Markdown."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def fenced(lines: Iterable[str]) -> str:
    """Lines exactly as they are, whatever backquotes are in them."""
    text = "\n".join(lines)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}\n"


def table(content: Table) -> str:
    """A table; numbers are set to the right."""
    lines = [content.header, *content.rows]
    marks = ["---" if at < content.texts else "---:" for at in range(len(content.header))]
    text = [" | ".join(escaped(cell) for cell in line) for line in lines]
    text.insert(1, " | ".join(marks))
    return "".join(f"| {line} |\n" for line in text)


def aligned(rows: Sequence[Sequence[str]], texts: int) -> str:
    """A table that a terminal shows as well: a header and rows of our own words.

    Columns are as wide as their widest cell; after the first ``texts`` they are set to the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        " | ".join(
            cell.ljust(width) if at < texts else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    marks = [
        "-" * width if at < texts else "-" * (width - 1) + ":" for at, width in enumerate(widths)
    ]
    lines.insert(1, " | ".join(marks))
    return "".join(f"| {line} |\n" for line in lines)


def page(result: Result, verdict: Verdict, plots: Mapping[str, Plot]) -> str:
    """The page; ``plots`` by the names of their files, which lie beside it."""
    parts = [
        f"# {escaped(result.scenario)}: {escaped(verdict.headline)}\n",
        f"{escaped(result.summary)}. {escaped(result.began)}, commit {escaped(result.commit)}.\n",
        "".join(f"- **{escaped(value)}** {escaped(what)}\n" for value, what in verdict.facts),
    ]
    if result.void:
        parts.append(f"**Void**: {escaped(result.void)}\n")
    if result.wrong:
        parts += ["## Wrong answers\n", "The first of them:\n", fenced(result.wrong)]
    for file, plot in plots.items():
        parts += [f"## {plot.title}\n", f"{plot.caption}\n", f"![{plot.title}]({file})\n"]
    for each in tables(result):
        parts += [f"## {each.title}\n", f"{each.note}\n", table(each)]
    return "\n".join(filter(None, parts))
