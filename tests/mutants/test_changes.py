"""Tests of how mutants are told apart from those that are listed as equivalent."""

from __future__ import annotations

from tests.mutants.changes import Change, change_of, equivalent, outdated

DIFF = [
    " def get(self, key):",
    "-    return self._young.get(",
    "-        key,",
    "-    )",
    "+    return self._young.get(",
    "+        None,",
    "+    )",
]
CHANGE = Change(
    "Cache.get",
    "return self._young.get( key, )",
    "return self._young.get( None, )",
    "def get(self, key):",
)


def test_a_change_is_named_by_its_function_and_its_lines() -> None:
    """Neither by its number nor by its module, so that code around it may move."""
    assert change_of("verifier.engine.cache.xǁCacheǁget__mutmut_12", DIFF) == CHANGE
    assert change_of("verifier.invoice.qr.x__backward__mutmut_1", DIFF).function == "_backward"


def test_a_change_whose_lines_are_gone_is_outdated() -> None:
    """However the lines are laid out, they count as there."""
    above = "def get(self, key):\n"
    assert outdated([CHANGE], [above + "    return self._young.get(\n        key,\n    )\n"]) == []
    assert outdated([CHANGE], [above + "    return self._young.get(key)\n"]) == [CHANGE]
    assert outdated([CHANGE], ["return self._young.get(\n        key,\n    )\n"]) == [CHANGE]


def test_a_change_may_be_listed_for_one_place_alone() -> None:
    """By the line above; the same change elsewhere in the function is another one."""
    anywhere = CHANGE._replace(above="")
    elsewhere = CHANGE._replace(above="else:")
    assert CHANGE.is_among([CHANGE])
    assert CHANGE.is_among([anywhere])
    assert not CHANGE.is_among([elsewhere])


def test_every_listed_change_makes_one() -> None:
    """The list can be read, and none of its changes leaves the line as it was."""
    assert all(change.was != change.becomes for change in equivalent())
