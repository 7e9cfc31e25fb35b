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


def begun(lanes: Lanes, times: int) -> list[Lane]:
    """The lanes of so many reads, each of which ends before the next one begins."""
    found = []
    for _ in range(times):
        lane = lanes.next(1.0)
        assert lane is not None
        lanes.begin(lane, 1.0)
        lane.end()
        found.append(lane)
    return found


def fill(lanes: Lanes) -> None:
    """Begin as many reads as may run."""
    while (lane := lanes.next(1.0)) is not None:
        lanes.begin(lane, 1.0)


def test_one_read_in_ten_is_bulk_s_where_nothing_is_idle() -> None:
    """People have nine of ten, and bulk goes on however many ask."""
    lanes = waiting(4)
    found = begun(lanes, 100)
    assert found.count(lanes.bulk) == 10
    assert found[:9].count(lanes.singles) == 9


def test_the_row_begins_anew_when_bulk_has_nothing() -> None:
    """Bulk that comes after a rush has no claim from before it came."""
    lanes = waiting(4)
    bulk = lanes.bulk.queue.copy()
    lanes.bulk.queue.clear()
    assert begun(lanes, 50).count(lanes.singles) == 50
    lanes.bulk.queue.extend(bulk)
    assert begun(lanes, 10).index(lanes.bulk) == 9


def test_bulk_has_what_people_leave() -> None:
    """All slots but one, which waits for a person."""
    lanes = waiting(4)
    people = lanes.singles.queue.copy()
    lanes.singles.queue.clear()
    fill(lanes)
    assert [lane.reads for lane in lanes] == [0, 3]
    lanes.singles.queue.extend(people)
    fill(lanes)
    assert [lane.reads for lane in lanes] == [1, 3]


def test_no_more_than_the_limit_begin() -> None:
    """Which may be below the slots, and above them never is."""
    lanes = waiting(8)
    lanes.limit_to(3)
    fill(lanes)
    assert sum(lane.reads for lane in lanes) == 3
    assert lanes.free == 0


def test_a_person_begins_beside_bulk_that_is_more_than_a_limit_that_fell() -> None:
    """One at a time, and within all slots: the connections are there."""
    lanes = waiting(8)
    people = lanes.singles.queue.copy()
    lanes.singles.queue.clear()
    fill(lanes)
    lanes.limit_to(3)
    lanes.singles.queue.extend(people)
    fill(lanes)
    assert [lane.reads for lane in lanes] == [1, 7]
    lanes.bulk.begin(1.0)
    lanes.singles.end()
    fill(lanes)
    assert [lane.reads for lane in lanes] == [0, 8]


@pytest.mark.parametrize(("limit", "bulk"), [(4, 3), (2, 1), (1, 1)])
def test_fewer_slots_leave_less_for_bulk(limit: int, bulk: int) -> None:
    """One stays free for people, as long as there are two."""
    lanes = waiting(4)
    lanes.limit_to(limit)
    assert lanes.bulk.most_reads == bulk
