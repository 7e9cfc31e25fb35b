"""Tests of what positions in the log prove about a replica's state."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import Database, connected
from verifier.ledger.lookup.history import History
from verifier.ledger.lookup.probes import Probe, Prober, cluster_of


def position(began: float, lsn: int, timeline: int = 1) -> Probe:
    """A probe of the primary."""
    return Probe(began, False, timeline, lsn, {})


def test_replica_is_as_new_as_the_newest_position_it_has_passed() -> None:
    """A replica's state is dated by the newest of the primary's positions at or below its own."""
    history = History()
    for began, lsn in ((1.0, 100), (2.0, 200), (3.0, 200), (4.0, 300)):
        history.add(position(began, lsn), "c")
    assert history.covered(1, 99) is None
    assert history.covered(1, 100) == 1.0
    assert history.covered(1, 250) == 3.0
    assert history.covered(1, 300) == 4.0


def test_idle_primary_does_not_age_its_replicas() -> None:
    """While nothing is written, each probe of the primary renews the date of who has it all."""
    history = History()
    for began in (1.0, 2.0, 3.0):
        history.add(position(began, 100), "c")
    assert history.covered(1, 100) == 3.0


def test_other_timeline_proves_nothing() -> None:
    """After a failover, positions of another timeline say nothing about a replica."""
    history = History()
    history.add(position(1.0, 100, timeline=1), "c")
    history.add(position(2.0, 120, timeline=2), "c")
    assert history.covered(1, 500) == 1.0
    assert history.covered(2, 110) is None
    assert history.covered(3, 500) is None


def test_history_is_bounded() -> None:
    """Only the newest positions are kept; a replica that is further behind gets no date."""
    history = History(size=3)
    for n in range(10):
        history.add(position(float(n), n), "c")
    assert history.covered(1, 6) is None
    assert history.covered(1, 7) == 7.0
    assert history.newest == position(9.0, 9)


@given(
    steps=st.lists(st.integers(min_value=0, max_value=3), min_size=1, max_size=50),
    replayed=st.integers(min_value=0, max_value=160),
)
def test_no_date_is_too_new(steps: list[int], replayed: int) -> None:
    """Whatever the primary writes, what it had written by the date is what the replica has."""
    history = History()
    lsn = 0
    positions = []
    for began, step in enumerate(steps):
        lsn += step
        positions.append(position(float(began), lsn))
        history.add(positions[-1], "c")
    date = history.covered(1, replayed)
    passed = [each.began for each in positions if each.lsn <= replayed]
    assert date == (max(passed) if passed else None)


@pytest.mark.parametrize(("identity", "cluster"), [("7 1764.5", "7"), ("", "")])
def test_cluster_is_the_part_that_replicas_share(identity: str, cluster: str) -> None:
    """The identity of a server begins with that of its cluster."""
    assert cluster_of(identity) == cluster


async def test_watermarks_are_at_least_as_new_as_the_position(ledger: Database) -> None:
    """What is acknowledged just after the position was read already shows in the watermarks."""
    async with connected(ledger.primary_dsn) as reader, connected(ledger.primary_dsn) as writer:
        prober = await Prober.over(reader)
        position = prober._position

        async def then_change() -> Any:
            rows = await position()
            await writer.execute("INSERT INTO region_watermark VALUES ('1100', to_timestamp(1e9))")
            return rows

        prober._position = then_change
        probe = await prober.probe(1.0)
        assert probe.watermarks == {"1100": 1e9}
