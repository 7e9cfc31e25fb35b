"""The oracle itself: what it calls right, and how stale it says an answer is."""

from __future__ import annotations

import pytest

from loadtests.oracle import History
from tests.faults.items import Items, Result


@pytest.fixture
def history() -> History:
    """Make an invoice that was voided: sent at 10, acknowledged at 11."""
    history = History("normal")
    history.send("voided", 10.0).acknowledged = 11.0
    return history


@pytest.mark.parametrize(
    ("shown", "started", "received", "stale"),
    [
        ("normal", 9.0, 9.5, 0.0),
        ("voided", 9.0, 9.5, None),  # not sent yet: invented
        ("voided", 9.0, 10.5, 0.0),  # seen before anybody heard of it
        ("normal", 10.5, 12.0, 0.0),  # not acknowledged when it was asked
        ("voided", 12.0, 12.1, 0.0),
        ("normal", 12.5, 12.6, 1.5),
        ("not_found", 12.5, 12.6, None),
    ],
)
def test_staleness_counts_from_the_acknowledgement(
    history: History, shown: str, started: float, received: float, stale: float | None
) -> None:
    """An old answer is stale by the time from the acknowledgement of the next to the question."""
    assert history.staleness(shown, started, received) == stale


def test_a_change_of_unknown_outcome_may_have_happened(history: History) -> None:
    """Until a later change is acknowledged both what it makes and what was before are right."""
    history.send("red_flushed", 20.0)
    for shown in ("voided", "red_flushed"):
        assert history.staleness(shown, 99.0, 99.1) == 0.0
    history.send("normal", 100.0).acknowledged = 101.0
    for shown in ("voided", "red_flushed"):
        assert history.staleness(shown, 102.0, 102.1) == 1.0


def test_a_token_admits_no_older_state(history: History) -> None:
    """Whoever was told of a change is right to see it and what came later, and nothing before."""
    told = history.newest
    assert history.staleness("normal", 11.1, 11.2, told) is None
    assert history.staleness("voided", 11.1, 11.2, told) == 0.0
    history.send("normal", 12.0)
    assert history.staleness("normal", 13.0, 13.1, told) == 0.0


def test_of_equal_states_the_best_counts(history: History) -> None:
    """A state that has come back is not stale."""
    history.send("normal", 20.0).acknowledged = 21.0
    assert history.staleness("normal", 30.0, 30.1) == 0.0
    assert history.staleness("voided", 30.0, 30.1) == 9.0


def test_each_change_shows() -> None:
    """What an item takes next is told apart from all that it went through lately."""
    items = Items(64)
    for item in (*items.changing, *items.watermarks, *items.coming):
        lately = [item.history.states[-1].shown]
        for _ in range(1 if item.kind in ("watermark", "new") else 3):
            write = items.next_write(item)
            assert write.shown not in lately
            lately.append(write.shown)
            item.history.send(write.shown, 0.0)


def test_answers_are_read_as_far_as_they_matter() -> None:
    """A match shows its state and buyer, a mismatch its fields, a problem its code."""
    item = next(item for item in Items(64).changing if item.kind == "buyer")
    given = Result(verdict="match", status="voided")
    given.invoice.buyer_name = "甲"
    assert item.shown(given) == "match voided 甲"
    assert item.shown(Result(verdict="mismatch", mismatched=["date", "total"])) == (
        "mismatch date,total"
    )
    assert item.shown(Result(status=503, code="unavailable")) == "unavailable"
