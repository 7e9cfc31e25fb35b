"""The cache: bounded, and never without what was used last."""

from __future__ import annotations

from collections import OrderedDict
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.engine.cache import Cache


def filled(capacity: int, count: int) -> Cache[int]:
    """A cache into which 0, 1, ... have been put under their names."""
    cache: Cache[int] = Cache(capacity)
    for number in range(count):
        cache.put(str(number), number)
    return cache


@pytest.mark.parametrize("capacity", [1, 2, 3, 10, 11, 1000])
def test_the_capacity_is_never_exceeded(capacity: int) -> None:
    """However much is put, at most ``capacity`` entries are held."""
    cache: Cache[int] = Cache(capacity)
    for number in range(3 * capacity + 5):
        cache.put(str(number), number)
        assert len(cache) <= capacity
        assert cache.get(str(number)) == number


def test_the_most_recent_half_survives() -> None:
    """The half of the capacity that was used last is always there."""
    cache = filled(10, 1000)
    assert [cache.get(str(number)) for number in range(995, 1000)] == [995, 996, 997, 998, 999]
    assert cache.get("900") is None


def test_a_hit_promotes() -> None:
    """An entry in use outlives any number of others."""
    cache: Cache[int] = Cache(10)
    cache.put("used", 1)
    for number in range(1000):
        cache.put(str(number), number)
        if number % 4 == 0:
            assert cache.get("used") == 1
    assert cache.get("used") == 1


@pytest.mark.parametrize("others", [0, 5])
def test_a_put_replaces(others: int) -> None:
    """Whichever generation holds the old value, only the new one is seen, and counted once."""
    cache: Cache[int] = Cache(10)
    cache.put("a", 1)
    for number in range(others):
        cache.put(str(number), number)
    before = len(cache)
    cache.put("a", 2)
    assert len(cache) == before
    assert cache.get("a") == 2


@pytest.mark.parametrize("others", [0, 5])
def test_a_discarded_entry_is_gone(others: int) -> None:
    """Discarding works in both generations, and says whether the key was there."""
    cache: Cache[int] = Cache(10)
    cache.put("a", 1)
    for number in range(others):
        cache.put(str(number), number)
    assert cache.discard("a")
    assert not cache.discard("a")
    assert not cache.discard("never")
    assert cache.get("a") is None
    assert len(cache) == others


@given(st.integers(1, 40), st.lists(st.sampled_from("abcdefgh"), max_size=8), st.integers(0, 30))
def test_many_at_once(capacity: int, keys: list[str], before: int) -> None:
    """What is there is got, and what is put is there in place of what was, within the capacity."""
    cache = filled(capacity, before)
    for key in "aceg":
        cache.put(key, ord(key))
    there = cache.among(dict.fromkeys(keys, 0))
    for key, value in zip(keys, cache.get_many(keys), strict=True):
        assert value in (ord(key), None)
        # While others are promoted, one that was there may be forgotten.
        assert cache.evicts or (value is not None) is (key in there)
    values = {key: number for number, key in enumerate(keys)}
    cache.put_many(values)
    assert len(cache) <= capacity
    for key, value in values.items():
        assert cache.get(key) in (value, None)
    recent = list(values)[-max(1, capacity // 2) :]
    cache.put_many(values)
    assert cache.get_many(recent) == [values[key] for key in recent]
    assert cache.evicts or capacity > before + 4


def test_a_cleared_cache_is_empty_and_works() -> None:
    """After ``clear`` nothing is held, and new entries are."""
    cache = filled(10, 25)
    cache.clear()
    assert len(cache) == 0
    assert cache.get("24") is None
    cache.put("a", 1)
    assert cache.get("a") == 1


class Value:
    """Knows how many of its kind are alive."""

    alive = 0

    def __init__(self) -> None:
        type(self).alive += 1

    def __del__(self) -> None:
        type(self).alive -= 1


def test_forgotten_entries_are_freed_little_by_little() -> None:
    """No put frees more than two entries, and a generation is freed before the next is due."""
    half = 50
    cache: Cache[Value] = Cache(2 * half)
    for number in range(20 * half):
        before = Value.alive
        cache.put(str(number), Value())
        assert before + 1 - Value.alive in (0, 1, 2)
        assert Value.alive <= 2 * half
        if number % half == half - 2:
            assert Value.alive == len(cache)
    cache.clear()
    assert Value.alive == 0


_keys = st.sampled_from("abcdefgh")
_steps = st.lists(
    st.tuples(st.just("put"), _keys)
    | st.tuples(st.just("get"), _keys)
    | st.tuples(st.just("discard"), _keys),
    max_size=60,
)


@given(st.integers(1, 12), _steps)
def test_it_behaves_like_a_least_recently_used_map(
    capacity: int, steps: list[tuple[str, str]]
) -> None:
    """Whatever the steps: no wrong value, no lost recent entry, no entry too many."""
    cache: Cache[int] = Cache(capacity)
    # Every key with its last value, in the order of use; None where it was discarded, which
    # still counts among those used last.
    model: OrderedDict[str, int | None] = OrderedDict()
    half = max(1, capacity // 2)
    for number, (step, key) in enumerate(steps):
        if step == "put":
            cache.put(key, number)
            model[key] = number
            model.move_to_end(key)
        elif step == "discard":
            cache.discard(key)
            if key in model:
                model[key] = None
        else:
            value = cache.get(key)
            recent = list(model)[-half:]
            if value is not None:
                assert value == model[key]
                model.move_to_end(key)
            elif key in recent:
                assert model[key] is None
            else:
                model.pop(key, None)  # forgotten for good
        assert len(cache) <= min(capacity, sum(value is not None for value in model.values()))


@pytest.mark.parametrize("at_once", [1, 7, 40])
def test_what_is_forgotten_and_not_yet_freed_counts(at_once: int) -> None:
    """Whatever is put, promoted or dropped, no more entries take memory than the setting (C19)."""
    cache: Cache[int] = Cache(100)
    random = Random(19)
    most = 0
    for start in range(0, 5_000, at_once):
        cache.put_many({str(number): number for number in range(start, start + at_once)})
        cache.get(str(random.randrange(start + 1)))
        cache.discard(str(random.randrange(start + 1)))
        most = max(most, len(cache) + len(cache._evicted))
    assert 90 < most <= 100


def test_a_key_that_is_asked_for_twice_at_once_is_found_twice() -> None:
    """Also when its first finding has just promoted it."""
    cache = Cache[int](8)
    for number in range(4):
        cache.put(str(number), number)
    assert cache.evicts
    assert cache.get_many(["0", "0", "missing"]) == [0, 0, None]
