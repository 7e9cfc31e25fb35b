"""The search for the knee, and what a held step is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.result import Cell
from loadtests.scenario import Steps
from loadtests.search import Search, held


@given(st.floats(300.0, 60_000.0))
def test_the_knee_lies_between(capacity: float) -> None:
    """The search ends with the capacity between what was held and what was not, 5 % apart."""
    search = Search(Steps(first=1_000))
    while (rate := search.rate) is not None:
        search.book(rate, held=rate <= capacity)
    assert search.broken is not None
    assert search.held <= capacity <= search.broken
    assert search.broken <= search.held * 1.05 + 1e-6


def test_a_service_that_holds_nothing_ends_the_search() -> None:
    """Steps that all fail go down, and end after the most that are allowed."""
    steps = Steps(first=1_000, most=6)
    search = Search(steps)
    rates = []
    while (rate := search.rate) is not None:
        rates.append(rate)
        search.book(rate, held=False)
    assert len(rates) == 6
    assert rates == sorted(rates, reverse=True)
    assert search.held == 0.0


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (Cell(questions=100, good=99), Cell(questions=100, good=98), True),
        # The queue has grown: what came later was late.
        (Cell(questions=100, good=100), Cell(questions=100, good=97), False),
        (Cell(questions=100, good=99, wrong=1), Cell(questions=100, good=100), False),
    ],
)
def test_held(first: Cell, second: Cell, expected: bool) -> None:
    """A step is held when each half was answered well, and nothing wrongly."""
    assert held(Steps(first=1.0), [[first], [second]]) is expected
