"""The fields of limits: lists that a strict parser takes, and numbers that never promise more."""

from __future__ import annotations

import re
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.wire.limits import Left, Name, Policy, limit_field, policy_field, retry_after

# RFC 9651, as far as strings with integer parameters go, in its canonical form.
_STRING = r'"([ !#-\[\]-~]*)"'
_KEY = r"[a-z*][a-z0-9_.*-]*"
_INTEGER = r"0|-?[1-9][0-9]{0,14}"
_ITEM = re.compile(rf"{_STRING}((?:;{_KEY}=(?:{_INTEGER}))*)")

names: st.SearchStrategy[Name] = st.sampled_from(["key", "tenant"])
policies = st.builds(Policy, name=names, units=st.floats(1e-9, 1e12), burst=st.integers(1, 10**18))
limits = st.builds(Left, name=names, remaining=st.integers(-5, 10**18), seconds=st.floats(0, 1e18))


def parse(field: str) -> list[tuple[str, dict[str, int]]]:
    """The items of a list; ValueError for whatever serialises it in another way."""
    items = []
    for member in field.split(", "):
        found = _ITEM.fullmatch(member)
        if found is None:
            raise ValueError(f"no item: {member}")
        pairs = [pair.split("=") for pair in found[2].split(";")[1:]]
        parameters = {key: int(value) for key, value in pairs}
        if len(parameters) < len(pairs):
            raise ValueError(f"no item: {member}")
        items.append((found[1], parameters))
    return items


@pytest.mark.parametrize(
    "field",
    [
        "",
        "key;q=1",
        '"key";q=01',
        '"key";q=1.0',
        '"key";q=1,"tenant";q=2',
        '"key"; q=1',
        '"key";q=1;q=1',
        '"key";q=1234567890123456',
        '"key";q=-0',
        '"ke"y";q=1',
        '"key";Q=1',
    ],
)
def test_the_parser_is_strict(field: str) -> None:
    """What is no list of strings with integers, or not in the usual form, is refused."""
    with pytest.raises(ValueError, match="no item"):
        parse(field)


def test_policies_read_as_in_the_draft() -> None:
    """A bucket is a quota of its burst in the time that fills it."""
    field = policy_field(Policy("key", 100.0, 500), Policy("tenant", 3.0, 100))
    assert field == '"key";q=500;w=5, "tenant";q=100;w=34'


def test_what_is_left_reads_as_in_the_draft() -> None:
    """Whole units, and seconds rounded up."""
    assert limit_field(Left("key", 50, 29.2)) == '"key";r=50;t=30'
    assert limit_field(Left("key", 0, 1.0), Left("tenant", 7, 0.0)) == (
        '"key";r=0;t=1, "tenant";r=7;t=0'
    )


@given(st.lists(policies, min_size=1, max_size=2))
def test_any_policy_is_a_list(told: list[Policy]) -> None:
    """Of the names in their order, each with a quota and a window of a second or more."""
    items = parse(policy_field(*told))
    assert [name for name, _ in items] == [policy.name for policy in told]
    for _, parameters in items:
        assert set(parameters) == {"q", "w"}
        assert parameters["q"] >= 0
        assert parameters["w"] >= 1


@given(st.lists(limits, min_size=1, max_size=2))
def test_whatever_is_left_is_a_list(told: list[Left]) -> None:
    """Of the names in their order; what is less than nothing is nothing."""
    items = parse(limit_field(*told))
    assert [name for name, _ in items] == [left.name for left in told]
    for _, parameters in items:
        assert set(parameters) == {"r", "t"}
        assert min(parameters.values()) >= 0


@given(st.floats(0.01, 1e5), st.integers(1, 10**6))
def test_a_policy_promises_no_more_than_the_rate(units: float, burst: int) -> None:
    """Who asks for the quota in every window asks for no more than the bucket gets."""
    ((_, policy),) = parse(policy_field(Policy("key", units, burst)))
    assert policy["q"] / policy["w"] <= units * (1 + 1e-9)
    assert policy["q"] == burst


@given(st.floats(0, 1e9))
def test_nobody_is_asked_back_too_early(seconds: float) -> None:
    """Retry-After is not before the wait ends, nor before t, and at most a second later."""
    ((_, left),) = parse(limit_field(Left("key", 0, seconds)))
    assert seconds <= left["t"] <= retry_after(seconds)
    assert 1 <= retry_after(seconds) <= max(1, ceil(seconds))
