"""The connections of a worker together: how many there may be, and who makes room for others."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

from verifier.api.server.addresses import Addresses
from verifier.api.server.refusals import Refusals
from verifier.config import Connections

# At most this share of the bound may linger at once: one in so many.
LINGERING = 8


class Member(Protocol):
    """A connection, as far as others concern it."""

    def asked_nothing(self) -> bool:
        """Whether no request has come yet."""

    def force_close(self) -> None:
        """Close without a word."""


class _Group:
    """Connections that share a bound."""

    def __init__(self) -> None:
        self.members: set[Member] = set()
        # Those that may not have asked anything yet, the oldest first.
        self.new: OrderedDict[Member, None] = OrderedDict()

    def silent(self) -> Member | None:
        """The oldest one that has asked nothing."""
        while self.new:
            oldest, _ = self.new.popitem(last=False)
            if oldest.asked_nothing():
                return oldest
        return None


class Crowd:
    """Admits ``most`` connections, and of each client's address as many as ``bounds`` say.

    One that is turned away stays open for ``turn_away`` seconds: closing it at once, with its
    request unread, would reset it, and the client would lose the answer.
    """

    def __init__(self, most: int, bounds: Connections, refusals: Refusals) -> None:
        self._most = most
        self._most_each = bounds.max_connections_per_address
        self._linger = bounds.turn_away
        self._addresses = Addresses(bounds.trusted_proxies)
        self._refusals = refusals
        self._all = _Group()
        # By what Addresses counts them under; there is none without members.
        self._groups: dict[bytes, _Group] = {}
        self._keys: dict[Member, bytes] = {}
        self._lingering: dict[Member, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._all.members)

    @property
    def addresses(self) -> int:
        """How many addresses are counted."""
        return len(self._groups)

    def admit(self, member: Member, transport: asyncio.Transport) -> bool:
        """Whether there is room for one more, if need be by closing a silent one.

        Otherwise clients that connect, ask nothing and connect again would keep out all others.
        Without room it is told so, and closed.
        """
        key = None
        if self._most_each:
            key = self._addresses.key_of(transport.get_extra_info("peername"))
        group = None if key is None else self._groups.get(key)
        if group is not None and not self._has_room(group, self._most_each):
            self._turn_away(member, transport, "too_many_of_address")
            return False
        if not self._has_room(self._all, self._most):
            self._turn_away(member, transport, "too_many_connections")
            return False
        self._add(member, self._all)
        if key is not None:
            self._keys[member] = key
            self._add(member, self._groups.setdefault(key, _Group()))
        return True

    def leave(self, member: Member) -> None:
        """Forget one that is closed."""
        self._remove(member)
        timer = self._lingering.pop(member, None)
        if timer is not None:
            timer.cancel()

    def _has_room(self, group: _Group, most: int) -> bool:
        if len(group.members) < most:
            return True
        oldest = group.silent()
        if oldest is None:
            return False
        self._refusals.count("silent_connection")
        self._remove(oldest)
        oldest.force_close()
        return True

    def _add(self, member: Member, group: _Group) -> None:
        group.members.add(member)
        group.new[member] = None

    def _remove(self, member: Member) -> None:
        key = self._keys.pop(member, None)
        for group in (self._all,) if key is None else (self._all, self._groups[key]):
            group.members.discard(member)
            group.new.pop(member, None)
        if key is not None and not self._groups[key].members:
            del self._groups[key]

    def _turn_away(self, member: Member, transport: asyncio.Transport, code: str) -> None:
        """Say that there is no room and close; without a word when many are being told."""
        if len(self._lingering) * LINGERING >= self._most:
            self._refusals.count(code)
            transport.abort()
            return
        transport.write(self._refusals.unread(code))
        transport.write_eof()
        loop = asyncio.get_running_loop()
        self._lingering[member] = loop.call_later(self._linger, transport.abort)
