"""A day's load as CSV, ``time,share``: the share of the scenario's rate at a time of day.

Office hours; the last day of the filing period (days 1 to 15 of a month), when what is left is done
until midnight; and a month's end, when ERP systems ask at night and in the evening.
"""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

from loadtests.scenario import Stage

FOLDER = Path(__file__).parent


class BadCurve(Exception):
    """A curve cannot be read; the message names the line."""


def names() -> list[str]:
    """The days that there are."""
    return sorted(file.stem for file in FOLDER.glob("*.csv"))


def find(name: str) -> Path:
    """A day by its name, or a file of one's own by its path. BadCurve when there is none."""
    for file in (FOLDER / f"{name}.csv", Path(name)):
        if file.is_file():
            return file
    raise BadCurve(f"--curve: expected one of {', '.join(names())}, or a CSV file, got {name!r}")


def read(file: Path) -> list[tuple[float, float]]:
    """Points of a day: its share that has gone by (0 to 1), and the share of the rate."""
    points: list[tuple[float, float]] = []
    with file.open(newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines), 2):
            try:
                hour, _, minute = row["time"].partition(":")
                gone = (int(hour) * 60 + int(minute)) / 1440
                share = float(row["share"])
            except (KeyError, TypeError, ValueError):
                raise BadCurve(
                    f"{file}: line {number}: expected time,share like 09:30,0.8, got {row}"
                ) from None
            if share < 0 or (points and gone <= points[-1][0]):
                raise BadCurve(
                    f"{file}: line {number}: expected ascending times and shares from 0, got {row}"
                )
            points.append((gone, share))
    if len(points) < 2:
        raise BadCurve(f"{file}: expected at least two lines of time,share")
    return points


def stages(file: Path, seconds: int, rate: float) -> list[Stage]:
    """The day in so many seconds, at ``rate`` where the curve says 1."""
    found = []
    done = 0
    for (gone, share), (then, next_share) in pairwise(read(file)):
        until = round(then * seconds)
        if until > done:
            name = f"{int(gone * 24):02d}:{round(gone * 1440) % 60:02d}"
            found.append(Stage(name, until - done, next_share * rate, share * rate))
            done = until
    return found
