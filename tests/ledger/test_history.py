"""Tests of what servers have shown: timelines, and what a failover carries over."""

from __future__ import annotations

import asyncio

import pytest

from tests.ledger.test_probes import position
from verifier.errors import Unavailable
from verifier.ledger.lookup.history import History
from verifier.ledger.lookup.probes import Probe
from verifier.state import Position

CLUSTER = "7"


def failed_over(carried: int | None) -> History:
    """A cluster whose first timeline ended; a server that was at a position has carried it over."""
    history = History()
    history.saw(CLUSTER, position(1.0, 100))
    history.add(position(1.0, 100), CLUSTER)
    before = None if carried is None else Probe(1.0, True, 1, carried, {})
    history.saw(CLUSTER, Probe(2.0, False, 2, 120, {}), before)
    history.add(position(2.0, 120, timeline=2), CLUSTER)
    return history


@pytest.mark.parametrize("witness", ["primary", "replica", "another worker's write"])
def test_a_primary_of_a_lower_timeline_is_outdated(witness: str) -> None:
    """Whoever has shown the higher one: the server that fell behind is refused (A3)."""
    history = failed_over(None)
    assert history.outdated(CLUSTER, 1)
    assert not history.outdated(CLUSTER, 2)
    assert not history.outdated("8", 1)
    history.noticed(CLUSTER, 3)
    assert history.outdated(CLUSTER, 2)


def test_a_token_is_honoured_as_far_as_it_was_carried_over() -> None:
    """What a server had replayed before it changed to the new timeline is part of that (A4)."""
    history = failed_over(90)
    assert history.resolve(Position(1, 90)) == Position(2, 90)
    with pytest.raises(Unavailable, match="other_timeline"):
        history.resolve(Position(1, 91))
    assert history.resolve(Position(2, 500)) == Position(2, 500)


def test_a_token_that_nobody_has_carried_over_is_refused() -> None:
    """Without a witness the failover may have lost it (A4)."""
    with pytest.raises(Unavailable, match="other_timeline"):
        failed_over(None).resolve(Position(1, 1))


def test_an_uncertain_position_carries_nothing_over() -> None:
    """A standby that replays from an archive may be on another timeline than it says."""
    history = failed_over(None)
    history.saw(CLUSTER, Probe(3.0, True, 2, 200, {}), Probe(1.0, True, 1, 95, {}, certain=False))
    with pytest.raises(Unavailable, match="other_timeline"):
        history.resolve(Position(1, 50))


def test_what_was_carried_to_one_timeline_says_nothing_about_the_next() -> None:
    """The third timeline may have parted from the first one earlier than the second did."""
    history = failed_over(90)
    history.saw(CLUSTER, Probe(3.0, True, 3, 200, {}))
    with pytest.raises(Unavailable, match="other_timeline"):
        history.resolve(Position(1, 50))
    history.saw(CLUSTER, Probe(3.0, True, 3, 210, {}), Probe(2.5, True, 2, 130, {}))
    assert history.resolve(Position(2, 130)) == Position(3, 130)


def test_old_positions_date_nobody_after_a_failover() -> None:
    """A replica that is left on the old timeline keeps the moment it had."""
    history = failed_over(90)
    assert history.covered(1, 500) is None
    assert history.covered(2, 120) == 2.0


def test_another_cluster_begins_with_nothing() -> None:
    """Positions of one log say nothing about another's."""
    history = failed_over(90)
    history.add(position(5.0, 10), "8")
    assert history.covered(2, 500) is None
    assert history.covered(1, 10) == 5.0


async def test_the_primary_waits_until_each_witness_was_tried() -> None:
    """A worker that has just started may not know yet that its primary was left behind (A3)."""
    history = History(["one", "two"])
    waiting = asyncio.create_task(history.heard())
    history.witness("one")
    history.witness("one")
    await asyncio.sleep(0)
    assert not waiting.done()
    assert not history.complete
    history.witness("two")
    await waiting
    assert history.complete


def test_clusters_are_remembered_up_to_a_bound() -> None:
    """A DSN that leads to one new cluster after the other does not fill the memory."""
    history = History()
    for number in range(100):
        history.noticed(str(number), 5)
    assert sum(history.highest(str(number)) > 0 for number in range(100)) == 8
    assert history.highest("99") == 5


def test_another_cluster_carries_over_what_its_own_servers_have_shown() -> None:
    """The timelines of the cluster before it are forgotten; those of the new one count."""
    history = failed_over(90)
    history.noticed("8", 2)
    history.add(position(5.0, 10, timeline=2), "8")
    with pytest.raises(Unavailable, match="other_timeline"):
        history.resolve(Position(1, 0))
    history.saw("8", Probe(6.0, True, 2, 30, {}), Probe(5.5, True, 1, 20, {}))
    assert history.resolve(Position(1, 20)) == Position(2, 20)
