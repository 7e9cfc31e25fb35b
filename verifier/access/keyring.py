"""The keyring: the keys that a worker knows, and whether one that is brought is good."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from verifier.access.callers import (
    TIGHT_BURST,
    Caller,
    KeyState,
    News,
    Tenant,
    TenantState,
    Version,
)
from verifier.access.keys import Scope, digest, is_key
from verifier.access.limits import Shares
from verifier.access.rates import Rate
from verifier.clocks import Clocks
from verifier.errors import BadRequest, Unavailable

_CHALLENGE = "WWW-Authenticate"
_REALM = 'Bearer realm="verifier"'


def unauthorized(code: str, detail: str) -> BadRequest:
    """A refusal for want of a key (``no_key``), or of a good one."""
    error = "" if code == "no_key" else ', error="invalid_token"'
    return BadRequest(code, detail, headers={_CHALLENGE: _REALM + error})


class Keyring:
    """All keys, as the newest of some databases shows them; one per process.

    Each database is followed by itself (following.py), so what one tells may be older than what
    another has told: of each row the highest version stays. Keys are never forgotten, which bounds
    the memory by what operators have made.

    Without news for longer than ``bound`` seconds, nothing can be said of a key that is not known:
    it may be new. Known ones hold for ``kept`` seconds without news.
    """

    def __init__(
        self,
        peppers: Sequence[bytes],
        clocks: Clocks,
        shares: Shares,
        *,
        bound: float,
        kept: float,
    ) -> None:
        self._shares = shares
        # Those that are held back, with their states.
        self._tight: dict[Caller, KeyState] = {}
        # Those that end by themselves.
        self._expiring: dict[Caller, None] = {}
        self._news = News(clocks)
        self._wall, self._steady = clocks.wall, clocks.steady
        self._peppers = peppers
        self._bound = bound
        self._kept = kept
        self._callers: dict[bytes, Caller] = {}
        self._tenants: dict[int, Tenant] = {}
        self._as_of = -inf

    def __len__(self) -> int:
        """How many keys are known, revoked ones included."""
        return len(self._callers)

    @property
    def is_read(self) -> bool:
        """Whether the keys have been read at all."""
        return self._as_of > -inf

    @property
    def has_live_keys(self) -> bool:
        """Whether any key holds."""
        now = self._wall()
        return any(caller.until > now for caller in self._callers.values())

    def admit(self, key: str, scope: Scope) -> Caller:
        """Whose key it is, if it is good for a scope.

        Raises BadRequest when it is not, and Unavailable, ``keys_unknown``, when that cannot be
        said.
        """
        if not is_key(key):
            raise unauthorized(
                "wrong_key",
                "expected a key as it was shown when it was made (ivk_live_… or ivk_test_… with 36 "
                "characters); this one is not complete, or has a typing error",
            )
        caller = self._find(key)
        if caller.until <= self._wall():
            code, what = (
                ("expired_key", "has expired") if caller.until else ("revoked_key", "was revoked")
            )
            raise unauthorized(code, f"the key {caller.label} {what}; expected one that holds")
        if not caller.is_valid():
            raise Unavailable("keys_unknown")
        if scope not in caller.scopes:
            raise BadRequest(
                "wrong_scope",
                f"expected a key with the scope {scope}; the key {caller.label} has "
                f"{', '.join(sorted(caller.scopes))}",
                headers={_CHALLENGE: f'{_REALM}, error="insufficient_scope", scope="{scope}"'},
            )
        return caller

    def put_tenant(self, state: TenantState, version: Version) -> None:
        """A tenant is, or was, so at a version."""
        tenant = self._tenant(state.id)
        if version > tenant.version:
            tenant.version, tenant.name = version, state.name
            rate = _rate(state.rate, state.burst)
            tenant.share = self._shares.share(f"t{state.id}", rate)

    def put_key(self, state: KeyState, version: Version) -> None:
        """A key is, or was, so at a version."""
        kept = bytes.fromhex(state.digest)
        caller = self._callers.get(kept)
        if caller is None:
            caller = Caller(self._news, state.id, self._tenant(state.tenant), kept)
            self._callers[kept] = caller
        if version > caller.version:
            caller.version = version
            caller.scopes = state.scopes
            caller.explains = "explain" in state.scopes
            caller.ends_at(0.0 if state.revoked else inf if state.until is None else state.until)
            self._expiring.pop(caller, None)
            if caller.until and caller.until < inf:
                self._expiring[caller] = None
            self._limit(caller, state)

    def shown(self, as_of: float) -> None:
        """All that was so at a moment of the steady clock has been put."""
        if as_of > self._as_of:
            self._as_of = as_of
            self._news.holds_until = as_of + self._kept
        for caller in self._expiring:
            # The clock on the wall may have been set.
            caller.ends_at(caller.until)
        now = self._wall()
        for caller, state in list(self._tight.items()):
            if state.tight_until <= now:
                self._limit(caller, state)

    def _limit(self, caller: Caller, state: KeyState) -> None:
        """Have a key's limit be its own, or a tighter one for a while."""
        rate = _rate(state.rate, state.burst)
        caller.is_tight = state.tight_rate is not None and self._wall() < state.tight_until
        self._tight.pop(caller, None)
        if caller.is_tight:
            assert state.tight_rate is not None
            self._tight[caller] = state
            if rate is None or rate.units > state.tight_rate:
                rate = Rate(state.tight_rate, state.tight_rate * TIGHT_BURST)
        caller.share = self._shares.share(f"k{caller.id}", rate)

    def _find(self, key: str) -> Caller:
        for pepper in self._peppers:
            caller = self._callers.get(digest(pepper, key))
            if caller is not None:
                return caller
        if self._steady() - self._as_of > self._bound:
            raise Unavailable("keys_unknown")
        raise unauthorized(
            "wrong_key",
            "expected a key that the service knows; a new one is known within "
            f"{self._bound:g} seconds",
        )

    def _tenant(self, id_: int) -> Tenant:
        tenant = self._tenants.get(id_)
        if tenant is None:
            tenant = self._tenants[id_] = Tenant(id_)
        return tenant


def _rate(units: float | None, burst: int | None) -> Rate | None:
    return None if units is None or burst is None else Rate(units, burst)
