"""Tests of what a database has shown, and how new that is."""

from __future__ import annotations

import pytest

from verifier.state import Live, Position, Reading


@pytest.mark.parametrize(("as_of", "fresh"), [(9.9, False), (10.0, True), (10.1, True)])
def test_a_state_of_the_oldest_moment_itself_is_fresh(as_of: float, fresh: bool) -> None:
    """The bound is a moment that a state must not be older than."""
    assert Reading("replica", as_of, {}).is_fresh(10.0) is fresh


@pytest.mark.parametrize(
    ("position", "shown"),
    [
        (Position(2, 100), True),
        (Position(2, 99), True),
        (Position(2, 101), False),
        (Position(1, 1), False),
        (Position(3, 1), False),
    ],
)
def test_a_state_shows_what_was_written_before_it_on_its_timeline(
    position: Position, shown: bool
) -> None:
    """A position of another timeline says nothing about this one, however low it is."""
    reading = Reading("replica", 1.0, {}, position=Position(2, 100))
    assert reading.shows(position) is shown
    assert not Reading("replica", 1.0, {}).shows(position)


def test_nothing_holds_before_a_log_has_been_looked_at() -> None:
    """A finding of a database that is followed is current once a reading has been published."""
    live = Live()
    reading = Reading("replica", 1.0, {}, live=live)
    assert reading.current is None
    live.reading = reading
    assert reading.current is reading
