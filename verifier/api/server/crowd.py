"""The connections of a worker together: how many there may be, and who makes room for others."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

from verifier.api.server.refusals import Refusals

# At most this share of the bound may linger at once: one in so many.
LINGERING = 8


class Member(Protocol):
    """A connection, as far as others concern it."""

    def asked_nothing(self) -> bool:
        """Whether no request has come yet."""

    def force_close(self) -> None:
        """Close without a word."""


class Crowd:
    """Admits ``most`` connections.

    One that is turned away stays open for ``linger`` seconds: closing it at once, with its request
    unread, would reset it, and the client would lose the answer.
    """

    def __init__(self, most: int, linger: float, refusals: Refusals) -> None:
        self._linger = linger
        self._most = most
        self._refusals = refusals
        self._members: set[Member] = set()
        # Connections that may not have asked anything yet, the oldest first.
        self._new: OrderedDict[Member, None] = OrderedDict()
        self._lingering: dict[Member, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._members)

    def admit(self, member: Member) -> bool:
        """Whether there is room for one more, if need be by closing a silent one.

        Otherwise clients that connect, ask nothing and connect again would keep out all others.
        """
        if len(self._members) >= self._most and not self._close_silent():
            return False
        self._members.add(member)
        self._new[member] = None
        return True

    def turn_away(self, member: Member, transport: asyncio.Transport) -> None:
        """Say that there is no room and close; without a word when many are being told."""
        if len(self._lingering) * LINGERING >= self._most:
            self._refusals.count("too_many_connections")
            transport.abort()
            return
        transport.write(self._refusals.unread("too_many_connections"))
        transport.write_eof()
        loop = asyncio.get_running_loop()
        self._lingering[member] = loop.call_later(self._linger, transport.abort)

    def leave(self, member: Member) -> None:
        """Forget one that is closed."""
        self._members.discard(member)
        self._new.pop(member, None)
        timer = self._lingering.pop(member, None)
        if timer is not None:
            timer.cancel()

    def _close_silent(self) -> bool:
        while self._new:
            oldest, _ = self._new.popitem(last=False)
            if oldest.asked_nothing():
                self._refusals.count("silent_connection")
                self._members.discard(oldest)
                oldest.force_close()
                return True
        return False
