"""Callers: the keys that a worker knows, and what each may do.

A caller is one object for as long as the process lives, whatever becomes of its key: so whoever
remembers it asks that object, each time, whether it still may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf

import msgspec

from verifier.access.enumeration import Trail
from verifier.access.keys import Scope, label
from verifier.access.limits import Over
from verifier.access.sharing import Share
from verifier.clocks import Clocks
from verifier.wire.limits import (
    LIMIT_HEADER,
    POLICY_HEADER,
    Left,
    Name,
    Policy,
    limit_field,
    policy_field,
)

# Questions for which single units are taken together, from limits that admit so many times as many
# at once: to take each costs as much as the rest of all that is asked of a key.
_TOGETHER, _OF_BURST = 16, 128

# Seconds of a tight rate that may come at once.
TIGHT_BURST = 10

# When a row was written: the timeline, and the transaction. A failover may lose transactions and
# give out their numbers again; then the later timeline is right.
Version = tuple[int, int]
_NONE: Version = (0, 0)

_NO_FIELDS: Mapping[str, str] = {}


class News:
    """How new all that is known of keys is: it holds until a moment of the steady clock."""

    __slots__ = ("holds_until", "steady", "wall")

    def __init__(self, clocks: Clocks) -> None:
        self.wall: Callable[[], float] = clocks.wall
        self.steady: Callable[[], float] = clocks.steady
        self.holds_until = -inf


class Tenant:
    """Whose key it is; ``version`` as in Keyring. ``share`` is of its limit, if it has one."""

    __slots__ = ("id", "name", "share", "version")

    def __init__(self, id_: int) -> None:
        self.id = id_
        self.name = ""
        self.share: Share | None = None
        self.version = _NONE


class Caller:
    """Who asks, by a key.

    ``until`` is when that ends, in seconds since the epoch: 0 when it was revoked; ``ends`` is the
    same by the steady clock. ``share`` is of the key's own limit, if it has one; ``is_tight`` says
    that this is for how it asked.
    """

    __slots__ = (
        "_fields",
        "_lines",
        "_news",
        "_prepaid",
        "_together",
        "_told",
        "ends",
        "explains",
        "id",
        "is_tight",
        "label",
        "scopes",
        "share",
        "tenant",
        "trail",
        "until",
        "version",
    )

    def __init__(self, news: News, id_: int, tenant: Tenant, digest_: bytes) -> None:
        self._news = news
        self.id = id_
        self.tenant = tenant
        self.label = label(digest_)
        self.scopes: frozenset[str] = frozenset()
        self.explains = False
        self.until = 0.0
        self.ends = -inf
        self.share: Share | None = None
        self.is_tight = False
        self.trail = Trail()
        self.version = _NONE
        # Header fields on what is left, also as lines of a head, and the second of which they tell.
        self._fields: Mapping[str, str] = {}
        self._lines = b""
        self._told = -1
        # Units that are taken and not asked for yet; and how many are taken together.
        self._prepaid = 0
        self._together = 1

    def take(self, units: int) -> Over | None:
        """Take units of the key's limit and its tenant's, all or none; or which of them is over."""
        share, whole = self.share, self.tenant.share
        if share is None and whole is None:
            return None
        now = self._news.steady()
        if share is not None and (wait := share.take(units, now)):
            return Over("key", wait)
        if whole is not None and (wait := whole.take(units, now)):
            if share is not None:
                share.give_back(units)
            return Over("tenant", wait)
        return None

    def take_one(self) -> Over | None:
        """Take a unit, as ``take`` does."""
        if self._prepaid:
            self._prepaid -= 1
            return None
        if self._together > 1:
            if self.take(self._together) is None:
                self._prepaid = self._together - 1
                return None
            self._together = 1
        return self.take(1)

    def fields(self) -> Mapping[str, str]:
        """Header fields on the limits and what is left of them, once a second; none without."""
        self.lines(int(self._news.wall()))
        return self._fields

    def lines(self, second: int) -> bytes:
        """The same as lines of a head; ``second`` is that of now, since the epoch."""
        if second != self._told:
            self._told = second
            self._tell()
        return self._lines

    def fields_beyond(self, over: Over) -> Mapping[str, str]:
        """The same where a limit is over: all say until when."""
        now = self._news.steady()
        return self._fields_of(
            Left(name, share.remaining(now), over.seconds) for name, share in self.shares.items()
        )

    def give_back(self, units: int) -> None:
        """Undo a ``take``: what was asked is refused for other reasons."""
        for share in self.shares.values():
            share.give_back(units)

    def now(self) -> float:
        """The moment, by the clock of the shares."""
        return self._news.steady()

    def _tell(self) -> None:
        """Tell what is left now until the second is over."""
        now = self._news.steady()
        bursts = (int(share.rate.burst / _OF_BURST) for share in self.shares.values())
        self._together = max(1, min(_TOGETHER, *bursts, _TOGETHER))
        self._fields = self._fields_of(
            Left(name, share.remaining(now), share.reset(now))
            for name, share in self.shares.items()
        )
        lines = (f"{name}: {value}\r\n" for name, value in self._fields.items())
        self._lines = "".join(lines).encode()

    def _fields_of(self, left: Iterable[Left]) -> Mapping[str, str]:
        shares = self.shares
        if not shares:
            return _NO_FIELDS
        policies = (
            Policy(name, share.rate.units, int(share.rate.burst)) for name, share in shares.items()
        )
        return {POLICY_HEADER: policy_field(*policies), LIMIT_HEADER: limit_field(*left)}

    @property
    def shares(self) -> dict[Name, Share]:
        """The shares that this worker has of the limits that there are."""
        both: dict[Name, Share | None] = {"key": self.share, "tenant": self.tenant.share}
        return {name: share for name, share in both.items() if share is not None}

    def may(self, scope: Scope) -> bool:
        """Whether the key holds, and is good for a scope."""
        news = self._news
        now = news.steady()
        return now < self.ends and now < news.holds_until and scope in self.scopes

    def is_valid(self) -> bool:
        """Whether the key still holds, by what this worker knows, which is not too old."""
        news = self._news
        now = news.steady()
        return now < self.ends and now < news.holds_until

    def ends_at(self, until: float) -> None:
        """The key holds until a moment, in seconds since the epoch, as the clocks are now."""
        self.until = until
        self.ends = self._news.steady() + (until - self._news.wall()) if until else -inf


class TenantState(msgspec.Struct, frozen=True):
    """A row of ``tenant``, as followers have it."""

    id: int
    name: str
    rate: float | None = None
    burst: int | None = None


class KeyState(msgspec.Struct, frozen=True):
    """A row of ``access_key``; ``digest`` is hexadecimal, moments are in seconds since the epoch.

    Until ``tight_until`` the key may ask ``tight_rate`` a second at most.
    """

    id: int
    tenant: int
    digest: str
    # Those that a newer program knows, too.
    scopes: frozenset[str]
    until: float | None = None
    revoked: bool = False
    rate: float | None = None
    burst: int | None = None
    tight_rate: float | None = None
    tight_until: float = 0.0
