"""What mutants change, and the list of the changes that make no difference."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

EQUIVALENT = Path(__file__).with_name("equivalent.toml")


class Change(NamedTuple):
    """The lines of a function (``Class.method``) before and after, joined by single spaces.

    ``above`` is the line over them; without it the change is meant wherever the lines stand.
    """

    function: str
    was: str
    becomes: str
    above: str = ""

    def is_among(self, listed: Collection[Change]) -> bool:
        """Whether it is listed, with or without the line above."""
        return self in listed or self._replace(above="") in listed


def function_of(mutant: str) -> str:
    """The function that a mutant changes, as its module calls it."""
    name = mutant.rpartition(".")[2].rpartition("__mutmut_")[0]
    return name.removeprefix("xǁ").replace("ǁ", ".").removeprefix("x_")


def change_of(mutant: str, diff: Iterable[str]) -> Change:
    """The change that the lines of a diff show."""
    lines = list(diff)
    was, becomes = (
        " ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"
    )
    first = next(index for index, line in enumerate(lines) if line.startswith(("-", "+")))
    above = lines[first - 1].strip() if first else ""
    return Change(function_of(mutant), was, becomes, above)


def outdated(changes: Iterable[Change], sources: Iterable[str]) -> list[Change]:
    """Those whose lines are in none of the sources any more."""
    written = [" ".join(source.split()) for source in sources]
    return [
        each
        for each in changes
        if not any(f"{each.above} {each.was}".strip() in source for source in written)
    ]


def equivalent() -> set[Change]:
    """The changes that are listed, each with its reason, as ones that no test can notice."""
    listed = tomllib.loads(EQUIVALENT.read_text("utf-8"))["mutant"]
    return {
        Change(each["function"], each["was"], each["becomes"], each.get("above", ""))
        for each in listed
    }
