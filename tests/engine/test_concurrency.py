"""How many reads may be in flight: a database that takes so many at once, and not more."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

import pytest

from tests.engine.fakes import Clock
from verifier.engine.concurrency import AGAIN, FEWEST, Concurrency
from verifier.engine.lanes import WORTH_A_READ

MOST = 64
KEYS = 20
# A read alone, in seconds.
ALONE = 0.004


class Database:
    """As many reads as it has cores run at their full speed; more share them."""

    def __init__(self, cores: int, lag: Callable[[], float] = lambda: 0.0) -> None:
        self.clock = Clock()
        self.cores = cores
        self.alone = ALONE
        self.limiting = Concurrency(MOST, self.clock, lag)
        self.most = 0
        self._ends: list[tuple[float, float]] = []

    def serve(self, seconds: float) -> None:
        """Read for so long, always as many as may be."""
        until = self.clock.now + seconds
        self.most = 0
        while self.clock.now < until:
            while len(self._ends) < self.limiting.limit:
                running = len(self._ends) + 1
                took = self.alone * max(1.0, running / self.cores)
                heappush(self._ends, (self.clock.now + took, took))
            self.most = max(self.most, len(self._ends))
            self.clock.now, took = heappop(self._ends)
            self.limiting.book(took, KEYS)


def test_at_first_all_connections_may_be_used() -> None:
    """Nothing is known yet, and a burst must not wait for it."""
    assert Concurrency(MOST, Clock()).limit == MOST


@pytest.mark.parametrize("cores", [4, 16])
def test_a_database_that_is_full_is_not_asked_more(cores: int) -> None:
    """The limit settles where latency begins to grow, not far above the cores that there are."""
    database = Database(cores)
    database.serve(10)
    database.serve(10)
    assert cores <= database.most <= 3 * cores


def test_a_database_with_room_gets_all() -> None:
    """As long as latency does not grow, the limit is that of the connections."""
    database = Database(2 * MOST)
    database.serve(10)
    assert database.limiting.limit == MOST


def test_a_slower_database_is_asked_less_and_one_that_recovers_more() -> None:
    """Within a second: the least latency of before is known."""
    database = Database(2 * MOST)
    database.serve(10)
    database.alone = 4 * ALONE
    database.serve(5)
    assert database.limiting.limit <= 8
    database.alone = ALONE
    database.serve(2)
    assert database.limiting.limit == MOST


def test_what_is_least_is_learnt_anew() -> None:
    """A database that is slower for good is, after a minute, as fast as it can be."""
    database = Database(2 * MOST)
    database.serve(10)
    database.alone = 4 * ALONE
    database.serve(1.2 * AGAIN + 10)
    assert database.limiting.limit == MOST


def test_few_reads_run_while_the_least_is_learnt() -> None:
    """It is that of reads that wait for nobody, whatever ran before."""
    database = Database(4)
    database.serve(10)
    seen = set()
    for _ in range(12_000):
        database.serve(0.008)
        seen.add(database.limiting.limit)
    assert min(seen) == FEWEST
    assert 4 <= database.limiting.limit <= 12


def test_large_reads_are_no_slow_ones() -> None:
    """Ten times as many keys may take their time."""
    database = Database(2 * MOST)
    database.serve(10)
    longer = ALONE * (WORTH_A_READ + 10 * KEYS) / (WORTH_A_READ + KEYS)
    for _ in range(1_000):
        database.clock.now += 0.01
        database.limiting.book(longer, 10 * KEYS)
    assert database.limiting.limit == MOST


def test_a_late_event_loop_says_nothing_of_the_databases() -> None:
    """All reads seem slow then."""
    late = False
    database = Database(2 * MOST, lambda: 2 * ALONE if late else 0.0)
    database.serve(10)
    late = True
    database.alone = 4 * ALONE
    database.serve(20)
    assert database.limiting.limit == MOST


@pytest.mark.parametrize("most", [1, 2])
def test_where_there_are_few_connections_all_are_used(most: int) -> None:
    """However slow they are."""
    clock = Clock()
    limiting = Concurrency(most, clock)
    for number in range(10_000):
        clock.now += 0.05
        limiting.book(0.001 * (1 + number % 100), 1)
        assert limiting.limit == most


def test_a_clock_that_stands_is_no_error() -> None:
    """Some reads take no time that could be told."""
    limiting = Concurrency(MOST, Clock())
    for _ in range(1_000):
        limiting.book(0.0, 1)
    assert limiting.limit == MOST
