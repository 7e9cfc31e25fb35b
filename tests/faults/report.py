"""The table of the fault suite, for the terminal and for docs/faults.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.faults.scenario import Form, Row

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
_BEGIN, _END = "<!-- table by make faults -->", "<!-- end of the table -->"

_HEADS = ("scenario", "questions", "wrong", "unavailable", "cut", "worst staleness", "recovery")


def table(rows: Sequence[Row]) -> list[list[str]]:
    """Heads and lines, as text, in the order of the scenarios."""
    return [list(_HEADS), *map(_line, _ordered(rows))]


def notes(rows: Sequence[Row]) -> list[str]:
    """What stands below the table."""
    return [f"{row.scenario}: {row.note}" for row in _ordered(rows) if row.note]


def _ordered(rows: Sequence[Row]) -> list[Row]:
    # Their names begin with their numbers.
    return sorted(rows, key=lambda row: int(row.scenario.partition(" ")[0]))


def _line(row: Row) -> list[str]:
    tally = row.tally
    return [
        row.scenario,
        f"{tally.asked:,}",
        str(tally.wrong + tally.misplaced + tally.hung),
        f"{tally.unavailable:,}",
        f"{tally.cut:,}",
        f"{tally.stalest:.2f} s",
        "–" if row.recovered is None else f"{row.recovered:.1f} s",
    ]


def text(rows: Sequence[Row]) -> str:
    """The table in columns, and the notes."""
    lines = table(rows)
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADS))]
    columns = (
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
    return "\n".join((*columns, *notes(rows)))


def markdown(rows: Sequence[Row], size: Form) -> str:
    """The same for the page, with what it was measured with."""
    heads, *lines = table(rows)
    facts = (
        f"{size.rates.questions:,.0f} questions a second ({size.rates.singles:,.0f} single, the "
        f"rest in batches of {size.rates.batch}), {size.rates.writes:,.0f} changes of the ledger a "
        f"second, {size.workers} workers, a bound of {size.bound:g} s unless the scenario names "
        f"another one, faults of {size.seconds:g} s unless their nature says otherwise."
    )
    rows_text = ["| " + " | ".join(line) + " |" for line in (heads, ["---"] * len(heads), *lines)]
    below = [f"- {note}." for note in notes(rows)]
    return "\n".join((facts, "", *rows_text, *(["", *below] if below else [])))


def write(rows: Sequence[Row], size: Form) -> None:
    """Put the table into the page."""
    page = PAGE.read_text()
    head, tail = page.partition(_BEGIN)[0], page.partition(_END)[2]
    PAGE.write_text(f"{head}{_BEGIN}\n\n{markdown(rows, size)}\n\n{_END}{tail}")
