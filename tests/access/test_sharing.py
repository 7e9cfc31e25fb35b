"""Sharing: workers that hear of each other late admit about what one bucket would.

The simulation is in virtual time. Workers exchange once a second, not in step, in up to 1.5
seconds; requests cost 5 units. A deviation is what the workers admitted, less what one bucket with
the same limit would have of the same requests, in any 10 seconds from a quarter of a second to the
next, as a part of what the rate gives in 10 seconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import partial
from heapq import heappop, heappush
from itertools import count
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.access.rates import Bucket, Rate
from verifier.access.sharing import KEPT, STALE, Report, Share, fraction

LIMIT = Rate(1_000, 1_000)
WORKERS = 4
COST = 5
BEGINNING, SECONDS, WINDOW = 1_000.0, 40, 10
LATENCY = 1.5
BOUND = 0.10
SEEDS = range(1, 4)

Arrivals = Callable[[Random, float], Iterator[float]]
# How the requests of a moment, in seconds from the beginning, are spread over the workers.
Spread = Callable[[float], list[float]]
# Whether a worker lives at a moment, and whether an exchange fails at one.
Lives = Callable[[int, float], bool]
Fails = Callable[[float], bool]


def poisson(random: Random, rate: float, since: float, until: float) -> Iterator[float]:
    """Moments of independent requests, so many a second."""
    now = since
    while (now := now + random.expovariate(rate)) < until:
        yield now


def steady(random: Random, rate: float) -> Iterator[float]:
    """All the time."""
    return poisson(random, rate, 0.0, SECONDS)


def in_bursts(random: Random, rate: float) -> Iterator[float]:
    """Within 100 ms of each second."""
    for second in range(SECONDS):
        yield from poisson(random, 10 * rate, second + 0.3, second + 0.4)


def on_and_off(random: Random, rate: float) -> Iterator[float]:
    """For 5 seconds, and then not for 5."""
    for second in range(0, SECONDS, 10):
        yield from poisson(random, 2 * rate, second, second + 5)


def evenly(_: float) -> list[float]:
    """All workers are asked for as much."""
    return [1, 1, 1, 1]


def unevenly(_: float) -> list[float]:
    """One worker is asked for seven times as much as any other."""
    return [7, 1, 1, 1]


def by_turns(now: float) -> list[float]:
    """Another one every 5 seconds."""
    at = int(now // 5) % WORKERS
    return [7 if worker == at else 1 for worker in range(WORKERS)]


class Simulation:
    """Workers with a table through which they exchange."""

    def __init__(self, seed: int, lives: Lives, fails: Fails) -> None:
        self._random = Random(seed)
        self._lives, self._fails = lives, fails
        self._table: dict[int, tuple[Report, float]] = {}
        self._order = count()
        self._events: list[tuple[float, int, int, Callable[[float], None]]] = []
        self.shares: dict[int, Share] = {}

    def run(self, until: float) -> None:
        """Let workers start and die, and exchange."""
        for worker in range(WORKERS):
            if not self._lives(worker, until):
                self.shares.pop(worker, None)
            elif worker not in self.shares:
                share = Share(str(worker), LIMIT, self._known(until), BEGINNING + until)
                self.shares[worker] = share
                self._at(until + self._random.random(), worker, partial(self._begin, worker))
        while self._events and self._events[0][0] <= until:
            at, _, worker, event = heappop(self._events)
            if worker in self.shares:
                event(at)

    def _known(self, now: float) -> int:
        """How many workers live, or have died just now."""
        return sum(
            self._lives(worker, now) or self._lives(worker, now - STALE)
            for worker in range(WORKERS)
        )

    def _at(self, moment: float, worker: int, event: Callable[[float], None]) -> None:
        heappush(self._events, (moment, next(self._order), worker, event))

    def _begin(self, worker: int, now: float) -> None:
        latency = LATENCY * self._random.random()
        report = self.shares[worker].report(BEGINNING + now)
        self._at(now + latency / 2, worker, partial(self._meet, worker, report, latency))
        self._at(now + max(1.0, latency), worker, partial(self._begin, worker))

    def _meet(self, worker: int, report: Report, latency: float, now: float) -> None:
        if self._fails(now):
            self._at(now + latency / 2, worker, partial(self._miss, worker))
            return
        self._table[worker] = report, now
        rows = [Report(row.worker, row.demand, now - at) for row, at in self._table.values()]
        self._at(now + latency / 2, worker, partial(self._learn, worker, rows))

    def _learn(self, worker: int, rows: list[Report], now: float) -> None:
        self.shares[worker].learn(rows, self._known(now), BEGINNING + now)

    def _miss(self, worker: int, now: float) -> None:
        self.shares[worker].miss(BEGINNING + now)


def always(_worker: int, _now: float) -> bool:
    """A worker that neither starts nor dies."""
    return True


def never(_now: float) -> bool:
    """No exchange fails."""
    return False


def deviations(
    arrivals: Arrivals,
    spread: Spread,
    seed: int,
    load: float = 3.0,
    lives: Lives = always,
    fails: Fails = never,
) -> list[float]:
    """Of each window; ``load`` says how many times the limit is asked for."""
    random = Random(seed)
    simulation = Simulation(seed, lives, fails)
    one = Bucket(LIMIT)
    admitted, expected = [], []
    for now in arrivals(random, load * LIMIT.units / COST):
        simulation.run(now)
        alive = list(simulation.shares)
        weights = spread(now)
        (worker,) = random.choices(alive, [weights[each] for each in alive])
        if simulation.shares[worker].take(COST, BEGINNING + now) == 0.0:
            admitted.append(now)
        if one.take(COST, BEGINNING + now) == 0.0:
            expected.append(now)

    def during(moments: list[float], since: float) -> int:
        return COST * (bisect_left(moments, since + WINDOW) - bisect_left(moments, since))

    windows = [quarter / 4 for quarter in range(4 * (SECONDS - WINDOW) + 1)]
    given = LIMIT.units * WINDOW
    return [(during(admitted, at) - during(expected, at)) / given for at in windows]


@pytest.mark.parametrize("spread", [evenly, unevenly, by_turns])
@pytest.mark.parametrize("arrivals", [steady, in_bursts, on_and_off])
def test_workers_that_are_asked_for_too_much_admit_what_one_bucket_would(
    arrivals: Arrivals, spread: Spread
) -> None:
    """Three times the limit, however it comes and wherever it goes, from the start on."""
    for seed in SEEDS:
        found = deviations(arrivals, spread, seed)
        assert -BOUND <= min(found) <= max(found) <= BOUND


@pytest.mark.parametrize("spread", [evenly, unevenly])
@pytest.mark.parametrize(
    "lives",
    [
        lambda worker, now: worker > 0 or now < 15.3,
        lambda worker, now: worker > 0 or now > 15.3,
        lambda worker, now: worker > 0 or not 15.3 < now < 16,
    ],
    ids=["dies", "starts", "restarts"],
)
def test_a_worker_may_start_or_die(lives: Lives, spread: Spread) -> None:
    """What it admitted or would have is admitted by others, before a tenth of it is missed."""
    for seed in SEEDS:
        found = deviations(steady, spread, seed, lives=lives)
        assert -BOUND <= min(found) <= max(found) <= BOUND


@pytest.mark.parametrize("ends", [15, 32])
@pytest.mark.parametrize("arrivals", [steady, in_bursts])
def test_the_database_may_be_away(arrivals: Arrivals, ends: float) -> None:
    """For less than fractions are kept or for more, and come back while all is asked for."""
    for seed in SEEDS:
        found = deviations(arrivals, unevenly, seed, fails=lambda now: 12 < now < ends)
        assert -BOUND <= min(found) <= max(found) <= BOUND


def test_a_lone_worker_gets_nearly_the_whole_rate() -> None:
    """Once it has exchanged three times; until then three quarters of it are with the others."""
    for seed in SEEDS:
        found = deviations(steady, lambda _: [1, 0, 0, 0], seed)
        assert min(found[20:]) >= -0.03
        assert max(found) <= BOUND


def test_the_simulation_can_fail() -> None:
    """Workers that are never told of each other do not admit what one bucket would."""
    found = deviations(steady, lambda _: [1, 0, 0, 0], 1, fails=lambda _: True)
    assert max(found[20:]) < -BOUND


demands = st.lists(st.floats(0, 10), min_size=1, max_size=12)


@given(demands)
def test_fractions_of_the_same_reports_make_one_limit(asked: list[float]) -> None:
    """But for what workers keep in any case, which is a quarter less than all of it at most."""
    parts = [fraction(own, asked[:at] + asked[at + 1 :]) for at, own in enumerate(asked)]
    certain = 0.75 / len(asked)
    assert min(parts) >= certain
    lent = sum(max(0.0, certain - own) for own in asked)
    assert 1 - 1e-9 <= sum(parts) <= 1 + lent + 1e-9


@given(demands)
def test_who_is_asked_for_more_has_as_much(asked: list[float]) -> None:
    """And nobody has less than is asked of it while another has more than an even part of it."""
    parts = [fraction(own, asked[:at] + asked[at + 1 :]) for at, own in enumerate(asked)]
    ordered = sorted(zip(asked, parts, strict=True))
    assert [part for _, part in ordered] == pytest.approx(sorted(parts))
    short = [part for own, part in ordered if part < own - 1e-9]
    assert short == pytest.approx([max(parts)] * len(short))


def learnt(share: Share, now: float, *reports: Report) -> Share:
    """Have a share of four workers learn of reports at a moment, and report itself before."""
    share.report(now)
    share.learn(reports, WORKERS, now)
    return share


def part(share: Share, now: float) -> int:
    """How much of a burst of 1,000 it may admit after a long idle time."""
    return share.remaining(now + 1e6)


def lone(now: float) -> Share:
    """A share of which alone anything was asked."""
    share = Share("a", LIMIT, WORKERS, now)
    for second in range(1, 5):
        share.take(3_000, now + second - 0.5)
        learnt(share, now + second)
    return share


def test_a_report_says_what_was_asked_also_in_vain() -> None:
    """In units a second, since the last report."""
    share = Share("a", LIMIT, WORKERS, 100.0)
    waits = [share.take(400, 101.0) for _ in range(5)]
    assert 0.0 in waits
    assert max(waits) > 0.0
    assert share.report(104.0) == Report("a", 500.0)
    assert share.report(104.0) == Report("a", 500.0)
    assert share.report(105.0) == Report("a", 0.0)


def test_a_share_is_even_before_the_second_exchange() -> None:
    """The first finds the others as little informed."""
    share = Share("a", LIMIT, WORKERS, 100.0)
    assert part(share, 100.0) == 250
    learnt(share, 101.0, Report("b", 3_000.0))
    assert part(share, 101.0) == 250
    learnt(share, 102.0, Report("b", 3_000.0))
    assert part(share, 102.0) == 187


def test_own_demand_counts_once_others_had_time_to_see_it() -> None:
    """Not in the exchange that tells of it, nor in the next, but in the third."""
    share = learnt(Share("a", LIMIT, WORKERS, 100.0), 101.0)
    share.take(3_000, 101.5)
    assert part(learnt(share, 102.0), 102.0) == 250
    share.take(3_000, 102.5)
    assert part(learnt(share, 103.0), 103.0) == 250
    assert part(learnt(share, 104.0), 104.0) == 1_000


def test_a_report_of_the_past_counts_no_more() -> None:
    """Nor does its own, which the table has too."""
    share = lone(100.0)
    busy = [Report(name, 3_000.0, STALE) for name in "bcd"]
    share.take(3_000, 104.5)
    assert part(learnt(share, 105.0, *busy), 105.0) == 250
    share.take(3_000, 105.5)
    old = [Report(name, 3_000.0, STALE + 0.1) for name in "bcd"]
    assert part(learnt(share, 106.0, *old, Report("a", 9.0)), 106.0) == 1_000


def test_a_fraction_is_kept_for_a_while_when_exchanges_fail() -> None:
    """And is even then."""
    share = lone(100.0)
    share.miss(104.0 + KEPT)
    assert part(share, 120.0) == 1_000
    share.miss(104.1 + KEPT)
    assert part(share, 120.0) == 250


def test_after_a_silence_the_first_exchange_finds_nobody_dead() -> None:
    """Else each worker would take all, at the end of an outage."""
    share = lone(100.0)
    share.learn([], 1, 104.1 + STALE)
    assert part(share, 110.0) == 250


def test_another_limit_is_divided_in_the_same_way() -> None:
    """At once, and what was spent stays spent."""
    share = Share("a", LIMIT, WORKERS, 100.0)
    share.take(200, 100.0)
    share.limit(Rate(10, 2_000), 100.0)
    assert share.remaining(100.0) == 300
    assert part(share, 100.0) == 500
