"""Enumeration: honest callers are never suspect, and those who guess soon are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import count, islice, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.askers import (
    ATTACKS,
    HONEST,
    OTHERS,
    Answered,
    Request,
    enumeration,
    evenly,
    honest,
    play,
    row,
    scattered,
    tell,
    tried,
)
from verifier.access.enumeration import CONSPICUOUS, LOOKED_AT, STRETCH, Suspicion, Trail

# Seconds. A steady clock began long ago.
BEGIN = 1e6
WINDOW = LOOKED_AT * STRETCH


def until(seconds: float, requests: Iterator[Request]) -> Iterator[Request]:
    """The first so many seconds of it."""
    return takewhile(lambda request: request[0] < seconds, requests)


@pytest.mark.parametrize("share", [1.0, 0.1, 0.01])
@pytest.mark.parametrize("name", HONEST)
def test_scenarios_are_honest(name: str, share: float) -> None:
    """A caller that has a whole scenario to itself, or a part of it, is not suspect."""
    assert play(honest(name, share, 7, 20_000, 3_000)).suspicion is None


@pytest.mark.parametrize("name", OTHERS)
def test_what_else_honest_callers_do(name: str) -> None:
    """Imports in a row, polls, loops and batches that are wrong as a whole are not suspect."""
    assert play(until(200, iter(OTHERS[name](7)))).suspicion is None


@pytest.mark.parametrize("workers", [1, 4, 8])
@pytest.mark.parametrize("share", [1.0, 0.1])
def test_the_scenario_is_found_within_30_seconds(share: float, workers: int) -> None:
    """Also at a tenth of its rate, and when each worker sees an eighth of that."""
    played = play(until(60, enumeration(share, 7)), workers, 7)
    assert played.after is not None
    assert played.after <= 30


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_found_within_a_minute(name: str) -> None:
    """Numbers in a row or by chance and guesses, one at a time or in batches."""
    played = play(until(60, iter(ATTACKS[name](7))))
    assert played.suspicion is not None


@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        ("sequential", row("not_found")),
        ("sequential", row("mismatch", step=-1)),
        ("random", scattered("not_found", 1)),
        ("guessing", tried(1, 1_000)),
    ],
)
def test_a_suspicion_says_what_it_rests_on(kind: str, answers: Iterator[Answered]) -> None:
    """The kind, how many of how many questions in a stretch, and how many stretches were so."""
    suspicion = play(evenly(40, 60, answers)).suspicion
    assert suspicion is not None
    assert suspicion.kind == kind
    # Of 16 in a row the first has no neighbour.
    assert 0.9 * suspicion.asked <= suspicion.counted <= suspicion.asked == 40 * STRETCH
    assert suspicion.stretches == CONSPICUOUS


def test_it_passes_when_the_caller_stops() -> None:
    """A minute after the last conspicuous stretch nothing is suspected any more."""
    trail = Trail()
    for moment, answers in evenly(20, 30, row("not_found")):
        tell(trail, answers, BEGIN + moment)
    assert trail.suspect(BEGIN + 30) is not None
    assert trail.suspect(BEGIN + 30 + WINDOW / 2) is not None
    assert trail.suspect(BEGIN + 30 + WINDOW) is None


def test_three_stretches_are_not_enough() -> None:
    """A batch that is wrong as a whole may take a while, and be sent again."""
    numbers = row("not_found")
    requests = [(STRETCH * at, tuple(islice(numbers, 5_000))) for at in range(CONSPICUOUS)]
    assert play([*requests[:-1], (600.0, ())]).suspicion is None
    assert play([*requests, (STRETCH * CONSPICUOUS, ())]).suspicion is not None


@pytest.mark.parametrize(
    ("answers", "counted", "most", "part"),
    [
        # Of 16 in a row the first has no neighbour.
        (row("not_found"), 150, 150, 4),
        # A few pass for one that was asked about before.
        (scattered("not_found", 1), 145, 160, 2),
        (tried(1, 1_000), 160, 160, 4),
    ],
)
def test_less_than_a_part_is_not_conspicuous(
    answers: Iterator[Answered], counted: int, most: int, part: int
) -> None:
    """Beside so many matches as a busy caller has, the same misses are nothing."""

    def suspicion(matches: int) -> Suspicion | None:
        trail = Trail()
        for at in range(LOOKED_AT):
            misses = list(islice(answers, 160))
            tell(trail, [*misses, *[Answered("match")] * matches], BEGIN + STRETCH * at)
        return trail.suspect(BEGIN + STRETCH * LOOKED_AT)

    assert suspicion(counted * part - 160) is not None
    assert suspicion(most * part - 160 + 1) is None


def test_a_batch_is_judged_by_itself() -> None:
    """What a large batch lacks is held against all of it, though a stretch begins with it."""
    absent, trail = scattered("not_found", 1), Trail()
    for at in range(20):
        some = [*islice(absent, 300), *[Answered("match")] * 9_700]
        tell(trail, some, BEGIN + (STRETCH + 1) * at)
    assert trail.suspect(BEGIN + (STRETCH + 1) * 20) is None


def test_the_same_guess_is_none() -> None:
    """However many invoices are asked about in vain again and again, nothing new is learnt."""
    each = [tried(seed, 2) for seed in range(10)]
    assert play(evenly(50, 120, (next(each[at % 10]) for at in count()))).suspicion is None


def test_guesses_do_not_add_up_over_a_day() -> None:
    """An invoice that differed now and then may be asked about in a loop later."""
    trail, guesses, loop = Trail(), tried(1, 1_000), tried(1, 1)
    for moment, some in evenly(1 / 30, 1_200, guesses):
        tell(trail, some, BEGIN + moment)
    for moment, some in evenly(20, 120, loop):
        tell(trail, some, BEGIN + 1_200 + moment)
        assert trail.suspect(BEGIN + 1_200 + moment) is None


answers = st.builds(
    Answered,
    st.sampled_from(["match", "mismatch", "not_found", "pending", "invalid"]),
    st.integers(0, 300).map(lambda number: f"26112{number:015d}"),
    st.integers(0, 1_000),
)
plays = st.lists(st.tuples(st.floats(0, 20), st.lists(answers, max_size=80)), max_size=12)


@given(plays, st.integers(1, 1_000))
def test_matches_never_make_a_caller_suspect(
    gaps: list[tuple[float, list[Answered]]], matches: int
) -> None:
    """Whatever was asked, more matches beside it do not raise a suspicion."""
    plain, matched, now = Trail(), Trail(), BEGIN
    for gap, some in gaps:
        now += gap
        tell(plain, some, now)
        tell(matched, [*some, *[Answered("match")] * matches], now)
        assert matched.suspect(now) is None or plain.suspect(now) is not None


def test_memory_is_bounded() -> None:
    """However long a caller asks, and whatever, it leaves at most 8 KiB."""
    trail = Trail()
    mixed = zip(scattered("mismatch", 1), row("not_found"), tried(1, 1_000), strict=False)
    for moment, some in evenly(100, 200, (each for three in mixed for each in three), 3):
        tell(trail, some, BEGIN + moment)
    held = [getattr(trail, name) for name in Trail.__slots__]
    parts = [trail, *held, *trail._tried, *trail._tried.values(), *trail._counted.values()]
    assert sum(map(sys.getsizeof, parts)) <= 8_192
