"""Limits of callers: a key's own and its tenant's, and what is said of them."""

from __future__ import annotations

from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.access.test_callers import KEPT, KEY, OTHER, PEPPERS, Time, state
from verifier.access.callers import TIGHT_BURST, Caller, KeyState, TenantState
from verifier.access.keyring import Keyring
from verifier.access.limits import Over, Shares
from verifier.access.rates import Bucket, Rate
from verifier.wire.limits import retry_after

UNLIMITED = TenantState(7, "acme")
WHOLE = TenantState(7, "acme", rate=10.0, burst=20)
LIMITED = state(rate=4.0, burst=8)
FREE = state()


class Ring:
    """A keyring of one worker, and two keys of a tenant."""

    def __init__(self, key: KeyState = FREE, tenant: TenantState = UNLIMITED) -> None:
        self.time = Time()
        shares = Shares(UUID(int=1), lambda: self.time.steady)
        self.keyring = Keyring(PEPPERS, self.time.clocks, shares, bound=2.0, kept=KEPT)
        self._versions = 10
        other = msgspec.structs.replace(state(OTHER), id=2)
        self.put(tenant)
        self.put(key)
        self.put(other)
        self.keyring.shown(self.time.steady)
        self.caller = self.keyring.admit(KEY, "verify")
        self.other = self.keyring.admit(OTHER, "verify")

    def put(self, row: KeyState | TenantState) -> None:
        """Tell of a row that is newer than any before."""
        self._versions += 1
        version = (1, self._versions)
        if isinstance(row, KeyState):
            self.keyring.put_key(row, version)
        else:
            self.keyring.put_tenant(row, version)

    def left(self) -> dict[str, int]:
        """What is left of each limit of the key."""
        now = self.time.steady
        return {name: share.remaining(now) for name, share in self.caller.shares.items()}


def name_of(over: Over | None) -> str:
    """Which limit it was."""
    assert over is not None
    return over.name


def test_without_limits_all_is_admitted() -> None:
    """And nothing is said of limits."""
    caller = Ring().caller
    assert caller.take(10**9) is None
    assert (caller.shares, caller.fields(), caller.lines(0)) == ({}, {}, b"")


def test_a_key_s_own_limit_holds() -> None:
    """Another key of the tenant has nothing to do with it."""
    ring = Ring(LIMITED)
    assert ring.caller.take(8) is None
    over = ring.caller.take(1)
    assert over is not None
    assert over.name == "key"
    assert over.seconds == pytest.approx(1 / 4)
    assert ring.other.take(1_000) is None


def test_a_tenant_s_limit_is_of_all_its_keys() -> None:
    """What one takes is gone for the others."""
    ring = Ring(tenant=WHOLE)
    assert ring.other.take(15) is None
    assert ring.caller.take(5) is None
    for caller in (ring.caller, ring.other):
        assert name_of(caller.take(1)) == "tenant"


def test_both_limits_hold() -> None:
    """Each unit is of the key's and of the tenant's."""
    ring = Ring(LIMITED, WHOLE)
    assert ring.caller.take(3) is None
    assert ring.left() == {"key": 5, "tenant": 17}


def test_what_the_tenant_does_not_admit_costs_the_key_nothing() -> None:
    """All or none: the key is given back what it took."""
    ring = Ring(LIMITED, WHOLE)
    ring.other.take(18)
    assert name_of(ring.caller.take(5)) == "tenant"
    assert ring.left() == {"key": 8, "tenant": 2}


def test_what_the_key_does_not_admit_costs_the_tenant_nothing() -> None:
    """It is not even asked."""
    ring = Ring(LIMITED, WHOLE)
    ring.caller.take(6)
    assert name_of(ring.caller.take(5)) == "key"
    assert ring.left() == {"key": 2, "tenant": 14}


def test_what_is_given_back_may_be_taken_again() -> None:
    """Of both limits."""
    ring = Ring(LIMITED, WHOLE)
    ring.caller.take(8)
    ring.caller.give_back(8)
    assert ring.left() == {"key": 8, "tenant": 20}


@given(
    st.lists(st.tuples(st.integers(1, 12), st.booleans(), st.floats(0, 2)), min_size=1, max_size=40)
)
def test_it_admits_what_both_buckets_admit(asked: list[tuple[int, bool, float]]) -> None:
    """A request is admitted when two buckets of its own would both have it, and else costs none."""
    ring = Ring(LIMITED, WHOLE)
    key, tenant = Bucket(Rate(4.0, 8.0)), Bucket(Rate(10.0, 20.0))
    for units, is_other, pause in asked:
        ring.time.steady += pause
        now = ring.time.steady
        caller = ring.other if is_other else ring.caller
        expected = True
        if not is_other and key.take(units, now):
            expected = False
        elif tenant.take(units, now):
            expected = False
            if not is_other:
                key.give_back(units)
        assert (caller.take(units) is None) == expected


def test_a_limit_that_changes_is_the_caller_s_at_once() -> None:
    """Whoever remembers the caller sees it, also that there is none any more."""
    ring = Ring(LIMITED)
    ring.put(state(rate=1.0, burst=2))
    assert ring.left() == {"key": 2}
    ring.put(FREE)
    ring.put(WHOLE)
    assert ring.left() == {"tenant": 20}


def test_a_key_that_is_held_back_has_a_tighter_limit_for_a_while() -> None:
    """Then it has its own again, once there is news."""
    ring = Ring()
    ring.put(state(tight_rate=0.5, tight_until=ring.time.wall + 60))
    assert (ring.caller.is_tight, ring.left()) == (True, {"key": 0.5 * TIGHT_BURST})
    ring.time.wall += 60
    ring.keyring.shown(ring.time.steady)
    assert (ring.caller.is_tight, ring.left()) == (False, {})


def test_a_key_is_never_held_back_to_more_than_its_own() -> None:
    """A limit that is tighter already stays."""
    ring = Ring(state(rate=0.1, burst=3))
    ring.put(state(rate=0.1, burst=3, tight_rate=0.5, tight_until=ring.time.wall + 60))
    assert ring.left() == {"key": 3}


def test_fields_say_what_is_left() -> None:
    """Of each limit, and the policies as they are."""
    ring = Ring(LIMITED, WHOLE)
    ring.caller.take(6)
    assert ring.caller.fields() == {
        "RateLimit-Policy": '"key";q=8;w=2, "tenant";q=20;w=2',
        "RateLimit": '"key";r=2;t=2, "tenant";r=14;t=1',
    }


def test_fields_are_made_once_a_second() -> None:
    """The same object for so long, whatever is taken; then what is left by then."""
    ring = Ring(LIMITED)
    second = int(ring.time.wall)
    first, lines = ring.caller.fields(), ring.caller.lines(second)
    ring.caller.take(8)
    ring.time.steady += 0.9
    ring.time.wall += 0.9
    assert ring.caller.fields() is first
    assert ring.caller.lines(second) is lines
    ring.time.steady += 0.1
    ring.time.wall += 0.1
    assert ring.caller.fields()["RateLimit"] == '"key";r=4;t=1'
    assert ring.caller.lines(second + 1) != lines


def test_lines_are_the_fields_of_a_head() -> None:
    """The same ones, for whoever writes bytes."""
    ring = Ring(LIMITED)
    caller = ring.caller
    said = caller.lines(int(ring.time.wall)).decode()
    assert said.endswith("\r\n")
    assert dict(line.split(": ") for line in said.splitlines()) == caller.fields()


def test_each_key_has_its_own_fields() -> None:
    """Keys of one tenant share its limit and not what is said of theirs."""
    ring = Ring(LIMITED, WHOLE)
    assert '"key"' in ring.caller.fields()["RateLimit"]
    assert '"key"' not in ring.other.fields()["RateLimit"]


@given(st.integers(1, 8), st.floats(0, 3))
def test_what_is_over_comes_back_when_it_may(units: int, pause: float) -> None:
    """Each limit's t is the Retry-After of the refusal, after which it is admitted."""
    ring = Ring(LIMITED, WHOLE)
    ring.caller.take(8)
    ring.time.steady += pause
    over = ring.caller.take(units)
    if over is None:
        return
    wait = retry_after(over.seconds)
    assert all(item.endswith(f";t={wait}") for item in _items(ring.caller, over))
    ring.time.steady += wait
    assert ring.caller.take(units) is None


def test_what_is_said_of_a_refusal_is_not_said_of_what_is_admitted() -> None:
    """Within the same second, the fields of answers stay those of answers."""
    ring = Ring(LIMITED)
    admitted = ring.caller.fields()
    ring.caller.take(8)
    over = ring.caller.take(8)
    assert over is not None
    assert ring.caller.fields_beyond(over) != admitted
    assert ring.caller.fields() is admitted


def _items(caller: Caller, over: Over) -> list[str]:
    return caller.fields_beyond(over)["RateLimit"].split(", ")


def test_single_units_are_taken_together() -> None:
    """Where many may come at once: each is admitted, and all but a few of the burst."""
    ring = Ring(state(rate=1.0, burst=12_800))
    ring.caller.fields()
    admitted = sum(ring.caller.take_one() is None for _ in range(12_801))
    assert admitted == 12_800
    assert ring.left() == {"key": 0}


def test_a_small_burst_is_taken_one_by_one() -> None:
    """Nothing is held that another worker could have."""
    ring = Ring(LIMITED)
    ring.caller.fields()
    assert ring.caller.take_one() is None
    assert ring.left() == {"key": 7}


@given(st.lists(st.integers(0, 40), max_size=30))
def test_no_more_is_admitted_one_by_one_than_there_is(asked: list[int]) -> None:
    """Whatever is asked when: not more than the burst and what the rate has given since."""
    ring = Ring(state(rate=100.0, burst=1_280))
    admitted, began = 0, ring.time.steady
    for count in asked:
        ring.time.steady += 0.125
        ring.time.wall += 0.125
        ring.caller.fields()
        admitted += sum(ring.caller.take_one() is None for _ in range(8 * count))
        assert admitted <= 1_280 + 100.0 * (ring.time.steady - began)
