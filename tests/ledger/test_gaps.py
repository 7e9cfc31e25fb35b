"""Tests of the numbers of the change log that a follower has not seen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from verifier.ledger.changes.gaps import Gap, Gaps

MOST = 20


def unseen(gaps: Gaps, up_to: int) -> set[int]:
    """The numbers that would be asked for."""
    return {
        *(number for gap in gaps.below for number in range(gap.first, gap.last + 1)),
        *range(gaps.top + 1, up_to + 1),
    }


@given(st.permutations(range(1, 13)), st.integers(0, 12))
def test_what_was_not_seen_is_asked_for(order: list[int], count: int) -> None:
    """Whatever the order in which numbers are seen, the others stay, in order and apart."""
    gaps = Gaps(MOST)
    for number in order[:count]:
        gaps.see(number, number, 1)
    assert unseen(gaps, 12) == set(order[count:])
    ends = [end for gap in gaps.below for end in (gap.first, gap.last)]
    assert ends == sorted(ends)


def test_a_gap_is_given_up_when_all_have_ended_who_may_have_its_numbers() -> None:
    """Neither before, nor because a later one is still open."""
    gaps = Gaps(MOST)
    gaps.see(3, 3, bound=10)
    gaps.see(6, 6, bound=20)
    gaps.end(9)
    assert len(gaps.below) == 2
    gaps.end(10)
    assert gaps.below == [Gap(4, 5, 20)]
    gaps.end(25)
    assert gaps.below == []
    assert gaps.top == 6


def test_a_part_of_a_gap_keeps_its_bound() -> None:
    """Seeing some of its numbers changes nothing for the others."""
    gaps = Gaps(MOST)
    gaps.see(10, 10, bound=5)
    gaps.see(4, 6, bound=99)
    assert gaps.below == [Gap(1, 3, 5), Gap(7, 9, 5)]


def test_what_is_settled_ends_at_the_first_gap() -> None:
    """Up to the first number that may still come, or to the last that was seen."""
    gaps = Gaps(MOST)
    assert gaps.settled == 0
    gaps.see(1, 4, bound=5)
    assert gaps.settled == 4
    gaps.see(7, 9, bound=5)
    assert gaps.settled == 4
    gaps.end(5)
    assert gaps.settled == 9


def test_too_many_gaps_are_said_to_be() -> None:
    """Beyond the bound a look would cost too much; nothing unseen is given up for that."""
    gaps = Gaps(MOST)
    for number in range(2, 2 * MOST + 4, 2):
        assert not gaps.too_many or number > 2 * MOST
        gaps.see(number, number, bound=number)
    assert gaps.too_many
    assert unseen(gaps, gaps.top) == set(range(1, 2 * MOST + 2, 2))
    gaps.end(4 * MOST)
    assert not gaps.too_many
