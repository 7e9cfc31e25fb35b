"""Tests of when a lane has another read worth its cost."""

from __future__ import annotations

import pytest

from verifier.engine.lanes import JUST_NOW, Lane, Lanes, Limits


@pytest.mark.parametrize(("seconds", "ready"), [(0.9 * JUST_NOW, False), (JUST_NOW, True)])
def test_a_read_has_begun_just_now_for_so_long(seconds: float, ready: bool) -> None:
    """Whoever comes back to the lane after that long finds that the next one may begin."""
    lane = Lane(most_waiting=9, most_reads=2, worth=2)
    lane.queue.append(("a", 0.0))
    lane.begin(0.0)
    assert lane.is_ready(seconds) is ready


def waiting(slots: int) -> Lanes:
    """Both lanes have more than enough."""
    lanes = Lanes(Limits(slots, 1, 10_000, 10_000, 1.0))
    for lane in lanes:
        lane.queue.extend((str(number), 0.0) for number in range(1_000))
    return lanes


def test_one_read_in_ten_is_bulk_s_where_nothing_is_idle() -> None:
    """People have nine of ten, and bulk goes on however many ask."""
    lanes = waiting(4)
    begun = []
    for _ in range(100):
        lane = lanes.next(1.0)
        assert lane is not None
        begun.append(lane)
    assert begun.count(lanes.bulk) == 10
    assert begun[:10].count(lanes.singles) == 9


def test_bulk_has_what_people_leave() -> None:
    """All slots but one, which waits for a person."""
    lanes = waiting(4)
    lanes.singles.queue.clear()
    while (lane := lanes.next(1.0)) is not None:
        lane.begin(1.0)
    assert lanes.bulk.reads == 3


def test_the_row_begins_anew_when_bulk_has_nothing() -> None:
    """Bulk that comes after a rush has no claim from before it came."""
    lanes = waiting(4)
    bulk = lanes.bulk.queue.copy()
    lanes.bulk.queue.clear()
    assert {lanes.next(1.0) for _ in range(50)} == {lanes.singles}
    lanes.bulk.queue.extend(bulk)
    assert [lanes.next(1.0) for _ in range(10)].index(lanes.bulk) == 9


def test_fewer_slots_leave_less_for_bulk() -> None:
    """One stays free for people, as long as there are two."""
    lanes = waiting(4)
    lanes.resize(2)
    assert [lane.most_reads for lane in lanes] == [2, 1]
    lanes.resize(1)
    assert [lane.most_reads for lane in lanes] == [1, 1]
