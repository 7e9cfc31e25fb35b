"""The doorkeeper: what comes for the second time is let in."""

from __future__ import annotations

from itertools import count

import pytest

from verifier.engine.doorkeeper import Doorkeeper


def names(start: int, count: int) -> list[str]:
    """Keys that differ."""
    return [f"key-{number}" for number in range(start, start + count)]


def test_what_came_before_comes_again() -> None:
    """A key is let in at its second coming, also when that is in the same read."""
    # Large, so that two keys share a bit in one run of a hundred thousand.
    door = Doorkeeper(1_000_000)
    keys = names(0, 20)
    assert door.again(keys) == set()
    assert door.again(keys[:5]) == set(keys[:5])
    assert door.again(["new", "new"]) == {"new"}


def test_few_pass_for_others() -> None:
    """Keys that share a bit are rare until all is forgotten."""
    entries = 1000
    door = Doorkeeper(entries)
    mistaken = sum(len(door.again([key])) for key in names(0, entries))
    assert mistaken <= entries / 8


@pytest.mark.parametrize("entries", [1, 2, 100])
def test_it_forgets(entries: int) -> None:
    """After as many keys as the cache has entries a key is new again."""
    door = Doorkeeper(entries)
    door.again(["old"])
    rounds = 0
    while door.again(["old"]):
        door.again(names(10 * rounds, 10))
        rounds += 1
        assert rounds <= entries + 1


def test_its_size_is_bounded() -> None:
    """However many keys come, it takes a byte or two for each entry of the cache."""
    door = Doorkeeper(1000)
    for start in range(0, 20_000, 500):
        door.again(names(start, 500))
        assert len(door._bits) <= 2 * 1000


def test_all_is_forgotten_with_as_many_new_keys_as_entries() -> None:
    """With the last of them, not with the one after it."""
    keeper = Doorkeeper(50)
    assert keeper.again(["0"]) == set()
    numbers, new = count(1), 1
    while new < 50:
        assert keeper.again(["0"]) == {"0"}
        # One that shares its bit with another passes for known.
        new += not keeper.again([str(next(numbers))])
    assert keeper.again(["0"]) == set()
