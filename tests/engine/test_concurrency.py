"""How many reads may be in flight: a database that takes so many at once, and not more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import log

import pytest

from tests.engine.fakes import Clock
from verifier.engine.concurrency import Concurrency

MOST = 64
KEYS = 20
# A read alone, in seconds.
ALONE = 0.004
# What a limit never falls below, where there are as many connections.
LEAST = 4


class Database:
    """As many reads as it has cores run at their full speed; more share them, whoever asks."""

    def __init__(
        self, cores: int, workers: int = 1, lag: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.clock = Clock()
        self.cores = cores
        self.alone = ALONE
        self.workers = [Concurrency(MOST, self.clock, lag) for _ in range(workers)]
        self._reads = [0] * workers
        self._ends: list[tuple[float, float, int]] = []

    @property
    def limits(self) -> Sequence[int]:
        """How many reads each worker may have."""
        return [each.limit for each in self.workers]

    def serve(self, seconds: float, most: int = MOST) -> None:
        """Read for so long: each worker as many at once as it may, or wants."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            for worker, limiting in enumerate(self.workers):
                while self._reads[worker] < min(limiting.limit, most):
                    self._reads[worker] += 1
                    took = self.alone * max(1.0, (len(self._ends) + 1) / self.cores)
                    heappush(self._ends, (self.clock.now + took, took, worker))
            self.clock.now, took, worker = heappop(self._ends)
            self._reads[worker] -= 1
            self.workers[worker].book(took, KEYS)


def calm(cores: int, workers: int = 1) -> Database:
    """One whose latency has been seen."""
    database = Database(cores, workers)
    database.serve(1, 1)
    return database


def test_at_first_all_connections_may_be_used() -> None:
    """Nothing is known yet, and a burst must not wait for it."""
    assert Concurrency(MOST, Clock()).limit == MOST


@pytest.mark.parametrize("cores", [4, 16])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_database_that_is_full_is_not_asked_more(cores: int, workers: int) -> None:
    """The limits settle where a read takes some twice its time, whoever else asks."""
    database = calm(cores, workers)
    database.serve(10)
    assert cores <= sum(database.limits) <= max(6 * cores, LEAST * workers)


def test_a_long_rush_does_not_pass_for_the_databases_speed() -> None:
    """Half an hour later not many more reads run at once."""
    database = calm(4)
    database.serve(10)
    (before,) = database.limits
    database.serve(1_800)
    assert database.limits[0] <= 2 * before


def test_a_database_with_room_gets_all() -> None:
    """As long as latency does not grow, the limit is that of the connections."""
    database = calm(2 * MOST)
    database.serve(10)
    assert database.limits == [MOST]


def test_a_slower_database_is_asked_less_and_one_that_recovers_more() -> None:
    """The least latency of before is known."""
    database = calm(2 * MOST)
    database.alone = 8 * ALONE
    database.serve(5)
    assert LEAST <= database.limits[0] <= 2 * LEAST
    database.alone = ALONE
    database.serve(10)
    assert database.limits == [MOST]


@pytest.mark.parametrize("times", [4, 100])
def test_what_is_least_is_learnt_anew(times: int) -> None:
    """A database that is slower for good is in the end used as it can be, however slow."""
    database = calm(2 * MOST)
    database.alone = times * ALONE
    # 2 % a minute, until it is not above twice the least.
    database.serve(60 * (log(times / 2) / log(1.02) + 2) + 10 * times * ALONE)
    assert database.limits == [MOST]


def test_large_reads_are_no_slow_ones() -> None:
    """They are compared with those of their size alone."""
    database = calm(2 * MOST)
    for _ in range(1_000):
        database.clock.now += 0.01
        database.workers[0].book(10 * ALONE, 10 * KEYS)
    assert database.limits == [MOST]


def test_long_reads_tell_too() -> None:
    """However long compared with what the limit is looked at after."""
    database = calm(2 * MOST)
    for _ in range(200):
        database.clock.now += 1
        database.workers[0].book(1.0, KEYS)
    assert database.limits[0] <= 8


def test_a_late_event_loop_says_nothing_of_the_databases() -> None:
    """All reads seem slow then."""
    late = 0.0
    database = Database(2 * MOST, lag=lambda: late)
    database.serve(1, 1)
    late = 8 * ALONE
    database.alone = 8 * ALONE
    database.serve(20)
    assert database.limits == [MOST]
    late = 0.0
    database.serve(20)
    assert database.limits[0] <= 8


@pytest.mark.parametrize("most", [1, 2])
def test_where_there_are_few_connections_all_are_used(most: int) -> None:
    """However slow they are."""
    clock = Clock()
    limiting = Concurrency(most, clock)
    for number in range(10_000):
        clock.now += 0.05
        limiting.book(0.001 * (1 + number % 100), 1)
        assert limiting.limit == most


def test_reads_that_take_no_time_are_no_error() -> None:
    """Some are shorter than the clock can tell."""
    clock = Clock()
    limiting = Concurrency(MOST, clock)
    for _ in range(1_000):
        clock.now += 0.05
        limiting.book(0.0, 1)
    assert limiting.limit == MOST
