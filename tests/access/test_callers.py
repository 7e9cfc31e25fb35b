"""Callers: whom a worker lets in, by what it has heard and when."""

from __future__ import annotations

from math import inf
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import no_shares
from verifier.access.callers import Caller, KeyState, TenantState, Version
from verifier.access.keyring import Keyring
from verifier.access.keys import checksum, digest
from verifier.clocks import Clocks
from verifier.errors import BadRequest, Unavailable

PEPPERS = (b"new" * 11, b"old" * 11)
BOUND, KEPT = 2.0, 60.0


def key_of(number: int) -> str:
    """One of many keys."""
    body = f"{number:030d}"
    return f"ivk_live_{body}{checksum(body)}"


KEY, OTHER = key_of(1), key_of(2)


class Time:
    """Both clocks, moved by hand and apart from each other."""

    def __init__(self) -> None:
        self.steady = 1_000.0
        self.wall = 1_800_000_000.0

    @property
    def clocks(self) -> Clocks:
        """As the keyring has them."""
        return Clocks(lambda: self.steady, lambda: self.wall)


def state(key: str = KEY, pepper: bytes = PEPPERS[0], **changes: Any) -> KeyState:
    """A row of a key that may ask."""
    given = KeyState(1, 7, digest(pepper, key).hex(), frozenset({"verify"}))
    return msgspec.structs.replace(given, **changes)


class Ring:
    """A keyring that has just been told of some keys."""

    def __init__(self, *states: KeyState, peppers: tuple[bytes, ...] = PEPPERS) -> None:
        self.time = Time()
        self.keyring = Keyring(peppers, self.time.clocks, no_shares(), bound=BOUND, kept=KEPT)
        self.put(*states)
        self.keyring.shown(self.time.steady)

    def put(self, *states: KeyState, version: Version = (1, 10)) -> None:
        """Tell of keys."""
        for each in states:
            self.keyring.put_key(each, version)

    def refusal(self, key: str = KEY, scope: str = "verify") -> tuple[str, str]:
        """Code and challenge with which a key is refused."""
        with pytest.raises(BadRequest) as refused:
            self.keyring.admit(key, scope)  # type: ignore[arg-type] # any scope
        assert key not in refused.value.detail
        assert refused.value.headers is not None
        return refused.value.code, refused.value.headers["WWW-Authenticate"]

    def cannot_say(self, key: str = KEY) -> str:
        """Why nothing can be said of a key."""
        with pytest.raises(Unavailable) as refused:
            self.keyring.admit(key, "verify")
        return refused.value.reason


INVALID = 'Bearer realm="verifier", error="invalid_token"'


def test_a_key_is_let_in_by_its_scope() -> None:
    """As the caller that it belongs to."""
    ring = Ring(state(scopes=frozenset({"verify", "explain"})))
    ring.keyring.put_tenant(TenantState(7, "acme"), (1, 10))
    caller = ring.keyring.admit(KEY, "verify")
    assert (caller.id, caller.tenant.id, caller.tenant.name) == (1, 7, "acme")
    assert caller.label == digest(PEPPERS[0], KEY).hex()[:8]
    assert caller.explains
    assert caller.is_valid()


def test_a_wrong_scope_is_told_with_the_right_one() -> None:
    """The key is good, but not for this (RFC 6750 §3.1)."""
    assert Ring(state()).refusal(scope="ingest") == (
        "wrong_scope",
        'Bearer realm="verifier", error="insufficient_scope", scope="ingest"',
    )


def test_to_explain_is_no_leave_to_ask() -> None:
    """Each scope is for itself."""
    assert Ring(state(scopes=frozenset({"explain"}))).refusal()[0] == "wrong_scope"


@pytest.mark.parametrize("key", ["", "ivk_live_", KEY[:-1], KEY + "x", KEY.lower(), f"{KEY}\n"])
def test_what_is_no_key_is_refused(key: str) -> None:
    """However long nothing was heard: nobody needs to be asked about it."""
    ring = Ring(state())
    ring.time.steady += 10 * KEPT
    with pytest.raises(BadRequest) as refused:
        ring.keyring.admit(key, "verify")
    assert refused.value.code == "wrong_key"
    assert refused.value.headers == {"WWW-Authenticate": INVALID}


def test_an_unknown_key_is_refused() -> None:
    """When all keys are known that may be."""
    assert Ring(state()).refusal(OTHER) == ("wrong_key", INVALID)


def test_a_key_that_has_expired_is_refused() -> None:
    """From the very moment on."""
    ring = Ring(state(until=1_800_000_001.0))
    ring.time.wall += 0.75
    ring.time.steady += 0.75
    caller = ring.keyring.admit(KEY, "verify")
    ring.time.wall += 0.25
    ring.time.steady += 0.25
    assert not caller.is_valid()
    assert ring.refusal() == ("expired_key", INVALID)


def test_a_clock_that_is_set_moves_the_end_of_a_key() -> None:
    """From the next news on, by the clock on the wall as it is then."""
    ring = Ring(state(until=1_800_000_100.0))
    caller = ring.keyring.admit(KEY, "verify")
    ring.time.wall += 100.0
    ring.keyring.shown(ring.time.steady)
    assert not caller.is_valid()
    ring.time.wall -= 50.0
    ring.keyring.shown(ring.time.steady)
    assert caller.is_valid()


def test_a_revoked_key_is_refused() -> None:
    """Whoever remembers its caller sees that too."""
    ring = Ring(state())
    caller = ring.keyring.admit(KEY, "verify")
    ring.put(state(revoked=True), version=(1, 11))
    assert not caller.is_valid()
    assert ring.refusal() == ("revoked_key", INVALID)


def test_revoked_comes_before_expired() -> None:
    """A key that is both was revoked, whenever it would have ended."""
    ring = Ring(state(revoked=True, until=1_900_000_000.0))
    assert ring.refusal()[0] == "revoked_key"


def test_before_anything_is_known_nobody_is_refused() -> None:
    """Nor let in: the key may be there."""
    time = Time()
    keyring = Keyring(PEPPERS, time.clocks, no_shares(), bound=BOUND, kept=KEPT)
    assert not keyring.is_read
    with pytest.raises(Unavailable, match="keys_unknown"):
        keyring.admit(KEY, "verify")


def test_what_was_read_of_an_undated_state_is_no_news() -> None:
    """A replica of which nobody knows how old it is tells of keys, but not that these are all."""
    time = Time()
    keyring = Keyring(PEPPERS, time.clocks, no_shares(), bound=BOUND, kept=KEPT)
    keyring.put_key(state(), (1, 10))
    keyring.shown(-inf)
    assert not keyring.is_read
    for key in (KEY, OTHER):
        with pytest.raises(Unavailable, match="keys_unknown"):
            keyring.admit(key, "verify")


@given(st.floats(0, 3 * KEPT))
def test_without_news_known_keys_hold_for_a_while(silence: float) -> None:
    """And then nothing can be said; what they never get is a refusal."""
    ring = Ring(state())
    caller = ring.keyring.admit(KEY, "verify")
    ring.time.steady += silence
    # As the keyring counts: the sum may be rounded.
    holds = ring.time.steady < 1_000.0 + KEPT
    assert caller.is_valid() == holds
    if holds:
        assert ring.keyring.admit(KEY, "verify") is caller
    else:
        assert ring.cannot_say() == "keys_unknown"


@given(st.floats(0, 3 * KEPT))
def test_an_unknown_key_is_refused_only_by_news(silence: float) -> None:
    """What was made since the last news would be refused wrongly."""
    ring = Ring(state())
    ring.time.steady += silence
    if ring.time.steady - 1_000.0 <= BOUND:
        assert ring.refusal(OTHER)[0] == "wrong_key"
    else:
        assert ring.cannot_say(OTHER) == "keys_unknown"


def test_news_makes_keys_hold_again() -> None:
    """Those that somebody remembers too."""
    ring = Ring(state())
    caller = ring.keyring.admit(KEY, "verify")
    ring.time.steady += KEPT
    assert not caller.is_valid()
    ring.keyring.shown(ring.time.steady - 1)
    assert caller.is_valid()


def test_older_news_takes_nothing_back() -> None:
    """One database lags, and another does not."""
    ring = Ring(state())
    ring.keyring.shown(ring.time.steady - KEPT)
    assert ring.keyring.admit(KEY, "verify").is_valid()


def test_a_clock_on_the_wall_that_is_set_changes_no_news() -> None:
    """How old it is, the steady clock tells."""
    ring = Ring(state())
    ring.time.wall += 100 * KEPT
    assert ring.keyring.admit(KEY, "verify").is_valid()


@pytest.mark.parametrize("pepper", PEPPERS)
def test_a_key_is_found_under_each_pepper(pepper: bytes) -> None:
    """So a pepper can be changed while old keys hold."""
    assert Ring(state(pepper=pepper)).keyring.admit(KEY, "verify").id == 1


def test_without_its_pepper_a_key_is_unknown() -> None:
    """When the old pepper is taken away, what was kept under it is no use to anybody."""
    ring = Ring(state(pepper=PEPPERS[1]), peppers=PEPPERS[:1])
    assert ring.refusal()[0] == "wrong_key"


def test_a_caller_stays_the_same_object() -> None:
    """Whatever becomes of its key, who remembers it sees that."""
    ring = Ring(state())
    caller = ring.keyring.admit(KEY, "verify")
    changed = state(scopes=frozenset({"verify", "explain"}), until=1_900_000_000.0)
    ring.put(changed, version=(1, 11))
    assert ring.keyring.admit(KEY, "verify") is caller
    assert caller.explains
    assert caller.until == 1_900_000_000.0


def test_a_tenant_may_come_after_its_keys() -> None:
    """A row of either may be read first."""
    ring = Ring(state())
    caller = ring.keyring.admit(KEY, "verify")
    assert caller.tenant.name == ""
    ring.keyring.put_tenant(TenantState(7, "acme"), (1, 10))
    assert caller.tenant.name == "acme"


def test_live_keys_are_told_from_ended_ones() -> None:
    """Revoked and expired ones count as known, and not as live."""
    ring = Ring(state(revoked=True), state(OTHER, until=1_800_000_001.0))
    assert len(ring.keyring) == 2
    assert ring.keyring.has_live_keys
    ring.time.wall += 1
    assert not ring.keyring.has_live_keys


# Versions of one row, from the oldest to the newest: a failover gives numbers out again.
HISTORY = [(1, 10), (1, 12), (1, 13), (2, 11), (2, 12), (3, 5)]


def version_of(place: int) -> tuple[KeyState, TenantState, Version]:
    """What a row was at a place of its history; each place differs in all that can change."""
    revoked = place % 3 == 2
    scopes = frozenset({"verify"} if place % 2 else {"verify", "explain"})
    until = 1_900_000_000.0 + place
    key = state(scopes=scopes, revoked=revoked, until=until)
    return key, TenantState(7, f"name-{place}"), HISTORY[place]


def seen(caller: Caller) -> tuple[object, ...]:
    """All that can change."""
    return caller.scopes, caller.explains, caller.until, caller.version, caller.tenant.name


@given(st.data())
def test_an_older_state_never_undoes_a_newer_one(data: st.DataObject) -> None:
    """Two databases tell each its own history in order, or part of it: the newest state stays."""
    places = st.lists(st.integers(0, len(HISTORY) - 1), max_size=6).map(sorted)
    told = [data.draw(places), data.draw(places)]
    ring = Ring()
    put: list[int] = []
    while any(told):
        database = data.draw(st.sampled_from([each for each in told if each]))
        place = database.pop(0)
        key, tenant, version = version_of(place)
        ring.keyring.put_key(key, version)
        ring.keyring.put_tenant(tenant, version)
        put.append(place)
        alone = Ring()
        key, tenant, version = version_of(max(put))
        alone.keyring.put_key(key, version)
        alone.keyring.put_tenant(tenant, version)
        (now,), (expected,) = ring.keyring._callers.values(), alone.keyring._callers.values()
        assert seen(now) == seen(expected)
