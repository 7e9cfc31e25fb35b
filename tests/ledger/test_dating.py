"""Tests of what positions prove: how new a replica is, and what a failover carries over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.database.timelines import Timelines
from verifier.errors import Unavailable
from verifier.ledger.lookup.dating import UNDATED, Dating, Unfit
from verifier.ledger.lookup.probes import Probe
from verifier.state import Position

CLUSTER = "7"


def failed_over(carried: int | None) -> Dating:
    """A cluster whose first timeline ended; a server that was at a position has carried it over."""
    dating = Dating(Timelines())
    dating.saw(CLUSTER, position(1.0, 100))
    dating.primary(CLUSTER, position(1.0, 100))
    before = None if carried is None else Probe(1.0, True, 1, carried, {})
    dating.saw(CLUSTER, Probe(2.0, False, 2, 120, {}), before)
    dating.primary(CLUSTER, position(2.0, 120, timeline=2))
    return dating


def test_a_token_is_honoured_as_far_as_it_was_carried_over() -> None:
    """What a server had replayed before it changed to the new timeline is part of that (A4)."""
    dating = failed_over(90)
    assert dating.resolve(Position(1, 90)) == Position(2, 90)
    with pytest.raises(Unavailable, match="other_timeline"):
        dating.resolve(Position(1, 91))
    assert dating.resolve(Position(2, 500)) == Position(2, 500)


def test_the_server_that_had_come_furthest_counts() -> None:
    """One that had replayed less before the failover takes nothing back."""
    dating = failed_over(90)
    dating.saw(CLUSTER, Probe(3.0, True, 2, 200, {}), Probe(1.0, True, 1, 40, {}))
    assert dating.resolve(Position(1, 90)) == Position(2, 90)


def test_each_earlier_timeline_is_carried_over_by_itself() -> None:
    """Servers come from the last one and from one before that."""
    dating = Dating(Timelines())
    dating.primary(CLUSTER, position(1.0, 300, timeline=3))
    dating.saw(CLUSTER, Probe(2.0, True, 3, 310, {}), Probe(1.0, True, 1, 100, {}))
    dating.saw(CLUSTER, Probe(2.0, True, 3, 310, {}), Probe(1.0, True, 2, 200, {}))
    assert dating.resolve(Position(1, 100)) == Position(3, 100)
    assert dating.resolve(Position(2, 200)) == Position(3, 200)


def test_a_token_that_nobody_has_carried_over_is_refused() -> None:
    """Without a witness the failover may have lost it (A4)."""
    with pytest.raises(Unavailable, match=r"^other_timeline$"):
        failed_over(None).resolve(Position(1, 1))


def test_an_uncertain_position_carries_nothing_over() -> None:
    """A standby that replays from an archive may be on another timeline than it says."""
    dating = failed_over(None)
    dating.saw(CLUSTER, Probe(3.0, True, 2, 200, {}), Probe(1.0, True, 1, 95, {}, certain=False))
    with pytest.raises(Unavailable, match="other_timeline"):
        dating.resolve(Position(1, 50))


def test_what_was_carried_to_one_timeline_says_nothing_about_the_next() -> None:
    """The third timeline may have parted from the first one earlier than the second did."""
    dating = failed_over(90)
    dating.saw(CLUSTER, Probe(3.0, True, 3, 200, {}))
    with pytest.raises(Unavailable, match="other_timeline"):
        dating.resolve(Position(1, 50))
    dating.saw(CLUSTER, Probe(3.0, True, 3, 210, {}), Probe(2.5, True, 2, 130, {}))
    assert dating.resolve(Position(2, 130)) == Position(3, 130)


def test_old_positions_date_nobody_after_a_failover() -> None:
    """A replica that is left on the old timeline keeps the moment it had."""
    dating = failed_over(90)
    assert dating.covered(1, 500) is None
    assert dating.covered(2, 120) == 2.0


def test_another_cluster_begins_with_nothing() -> None:
    """Positions of one log say nothing about another's."""
    dating = failed_over(90)
    dating.primary("8", position(5.0, 10))
    assert dating.covered(2, 500) is None
    assert dating.covered(1, 10) == 5.0


def test_another_cluster_carries_over_what_its_own_servers_have_shown() -> None:
    """The timelines of the cluster before it are forgotten; those of the new one count."""
    dating = failed_over(90)
    dating.timelines.noticed("8", 2)
    dating.primary("8", position(5.0, 10, timeline=2))
    with pytest.raises(Unavailable, match="other_timeline"):
        dating.resolve(Position(1, 0))
    dating.saw("8", Probe(6.0, True, 2, 30, {}), Probe(5.5, True, 1, 20, {}))
    assert dating.resolve(Position(1, 20)) == Position(2, 20)


def position(began: float, lsn: int, timeline: int = 1) -> Probe:
    """A probe of the primary."""
    return Probe(began, False, timeline, lsn, {})


def test_replica_is_as_new_as_the_newest_position_it_has_passed() -> None:
    """A replica's state is dated by the newest of the primary's positions at or below its own."""
    dating = Dating(Timelines())
    for began, lsn in ((1.0, 100), (2.0, 200), (3.0, 200), (4.0, 300)):
        dating.primary("c", position(began, lsn))
    assert dating.covered(1, 99) is None
    assert dating.covered(1, 100) == 1.0
    assert dating.covered(1, 250) == 3.0
    assert dating.covered(1, 300) == 4.0


def test_idle_primary_does_not_age_its_replicas() -> None:
    """While nothing is written, each probe of the primary renews the date of who has it all."""
    dating = Dating(Timelines())
    for began in (1.0, 2.0, 3.0):
        dating.primary("c", position(began, 100))
    assert dating.covered(1, 100) == 3.0


def test_other_timeline_proves_nothing() -> None:
    """After a failover, positions of another timeline say nothing about a replica."""
    dating = Dating(Timelines())
    dating.primary("c", position(1.0, 100, timeline=1))
    dating.primary("c", position(2.0, 120, timeline=2))
    assert dating.covered(1, 500) == 1.0
    assert dating.covered(2, 110) is None
    assert dating.covered(3, 500) is None


def test_positions_are_bounded() -> None:
    """Only the newest positions are kept; a replica that is further behind gets no date."""
    dating = Dating(Timelines(), size=3)
    for n in range(10):
        dating.primary("c", position(float(n), n))
    assert dating.covered(1, 6) is None
    assert dating.covered(1, 7) == 7.0
    assert dating.newest == position(9.0, 9)


@given(
    steps=st.lists(st.integers(min_value=0, max_value=3), min_size=1, max_size=50),
    replayed=st.integers(min_value=0, max_value=160),
)
def test_no_date_is_too_new(steps: list[int], replayed: int) -> None:
    """Whatever the primary writes, what it had written by the date is what the replica has."""
    dating = Dating(Timelines())
    lsn = 0
    positions = []
    for began, step in enumerate(steps):
        lsn += step
        positions.append(position(float(began), lsn))
        dating.primary("c", positions[-1])
    date = dating.covered(1, replayed)
    passed = [each.began for each in positions if each.lsn <= replayed]
    assert date == (max(passed) if passed else None)


def standby(lsn: int, timeline: int = 1) -> Probe:
    """A probe of a replica."""
    return Probe(0.0, True, timeline, lsn, {})


@pytest.mark.parametrize(
    ("role", "cluster", "probe", "reason"),
    [
        ("primary", CLUSTER, standby(120), "in_recovery"),
        ("primary", CLUSTER, position(3.0, 120), "old_timeline"),
        ("replica", CLUSTER, position(3.0, 120, timeline=2), "not_a_replica"),
        ("replica", "8", standby(120), "other_cluster"),
    ],
)
def test_a_server_that_has_not_the_role_is_unfit(
    role: str, cluster: str, probe: Probe, reason: str
) -> None:
    """What is wrong with it is said, and it dates nobody."""
    dating = failed_over(90)
    newest = dating.newest
    known = () if role == "primary" else (UNDATED,)
    with pytest.raises(Unfit, match=f"^{reason}$"):
        getattr(dating, role)(cluster, probe, *known)
    assert dating.newest is newest


def test_a_replica_never_gets_older() -> None:
    """A moment that was known before counts where the positions prove less."""
    dating = Dating(Timelines())
    assert dating.replica(CLUSTER, standby(50), UNDATED) == UNDATED
    dating.primary(CLUSTER, position(1.0, 100))
    assert dating.replica(CLUSTER, standby(50), 0.5) == 0.5
    assert dating.replica(CLUSTER, standby(100), 0.5) == 1.0
    assert dating.replica(CLUSTER, standby(100), 1.5) == 1.5


def test_lag_is_none_at_the_newest_position() -> None:
    """Bytes and seconds count from there, and are unknown while nothing dates the state."""
    dating = Dating(Timelines())
    assert dating.lag(standby(70), 1.0, 9.0) is None
    dating.primary(CLUSTER, position(1.0, 100))
    assert dating.lag(standby(70), UNDATED, 9.0) is None
    assert dating.lag(standby(70), 1.0, 9.0) == (30, 8.0)
    assert dating.lag(standby(70), 8.5, 9.0) == (30, 0.5)
    assert dating.lag(standby(100), 1.0, 9.0) == (0, 0.0)
    dating.timelines.noticed(CLUSTER, 2)
    assert dating.lag(standby(70), 1.0, 9.0) is None
