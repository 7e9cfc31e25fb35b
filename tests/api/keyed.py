"""A keyring for servers in memory, and the keys that are good for something there, or not."""

from __future__ import annotations

from uuid import UUID

from verifier.access.callers import KeyState, TenantState
from verifier.access.keyring import Keyring
from verifier.access.keys import Scope, checksum, digest
from verifier.access.limits import Shares
from verifier.clocks import Clocks

PEPPER = b"p" * 32
NOW = 1_800_000_000.0


def key_of(number: int) -> str:
    """One of many keys."""
    body = f"{number:030d}"
    return f"ivk_test_{body}{checksum(body)}"


GOOD, FEW, REVOKED, EXPIRED, OTHER_SCOPE, UNKNOWN = map(key_of, range(6))
MALFORMED = GOOD[:-1] + "x"

_VERIFY: frozenset[Scope] = frozenset({"verify", "explain"})
_STATES = {
    GOOD: KeyState(1, 1, "", _VERIFY),
    # Of a few questions at once.
    FEW: KeyState(2, 1, "", _VERIFY, rate=0.5, burst=4),
    REVOKED: KeyState(3, 1, "", _VERIFY, revoked=True),
    EXPIRED: KeyState(4, 1, "", _VERIFY, until=NOW - 1),
    OTHER_SCOPE: KeyState(5, 1, "", frozenset({"metrics"})),
}


class Keys:
    """A keyring, and the clocks that it goes by."""

    def __init__(self) -> None:
        self.steady, self.wall = 1_000.0, NOW
        clocks = Clocks(lambda: self.steady, lambda: self.wall)
        shares = Shares(UUID(int=1), clocks.steady)
        self.keyring = Keyring((PEPPER,), clocks, shares, bound=2.0, kept=1e9)
        # So few at once that each question is taken by itself, as without a desk.
        self.keyring.put_tenant(TenantState(1, "acme", rate=1e6, burst=100), (1, 1))
        for key in _STATES:
            self.put(key)
        self.keyring.shown(self.steady)

    def put(self, key: str, *, revoked: bool | None = None, version: int = 1) -> None:
        """Tell of a key, as it is or revoked."""
        state = _STATES[key]
        given = KeyState(
            state.id,
            state.tenant,
            digest(PEPPER, key).hex(),
            state.scopes,
            state.until,
            state.revoked if revoked is None else revoked,
            state.rate,
            state.burst,
        )
        self.keyring.put_key(given, (1, version))


def fields_of(key: str) -> list[bytes]:
    """The fields that may bring a key."""
    return [b"Authorization: Bearer " + key.encode(), b"X-API-Key: " + key.encode()]


# What brings a good key, what brings one with a limit, and what is refused.
GOOD_FIELDS = [*fields_of(GOOD), b"authorization: bearer  " + GOOD.encode()]
FEW_FIELDS = fields_of(FEW)
REFUSED_FIELDS = [
    *fields_of(MALFORMED),
    *(fields_of(key)[0] for key in (REVOKED, EXPIRED, OTHER_SCOPE)),
    b"Authorization: Basic dTpw",
    b"Authorization: Bearer",
    b"X-API-Key: ",
    # Two at once, of which each is good.
    b"\r\n".join([fields_of(GOOD)[0], fields_of(FEW)[1]]),
    # A good one beside one that is none.
    b"\r\n".join([fields_of(GOOD)[1], b"Authorization: Basic dTpw"]),
    # The same one twice, which is one.
    b"\r\n".join(fields_of(GOOD)),
]
