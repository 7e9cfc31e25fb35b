"""Targets: the databases as look-ups see them. They have no method that writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import structlog

from verifier.database.connections import Role
from verifier.ledger.lookup.channels import Channel, Channels, Rows
from verifier.ledger.lookup.observer import Sight
from verifier.state import Reading

log = structlog.get_logger()

# A replica that was too far behind is itself again after so many looks in a row that found it
# within the bound: two seconds at the default interval, so that one which falls behind again and
# again is not taken up each time that it has caught up for a moment.
SETTLING_LOOKS = 8


class Target:
    """One database to read from, as its watch (watch.py) has found it.

    ``serving`` is true from the first successful look with open channels until a look or a
    connection fails; ``reason`` says why it is not. ``reading`` is what findings carry; None before
    the first look. ``settling`` says that it was too far behind a moment ago.
    """

    def __init__(self, name: str, role: Role, channels: Channels, hears: Hears) -> None:
        self.name = name
        self.role: Role = role
        self.serving = self.settling = False
        self.reason = "starting"
        self.reading: Reading | None = None
        self.sight: Sight | None = None
        self.open_for = 0.0
        self.channels = channels
        self._hears = hears
        self._settling_looks = 0
        # Used for every query, so without anything in between.
        self.take = channels.take
        self.free = channels.free
        self.busy = channels.busy

    def found(self, sight: Sight, reading: Reading, identity: str, open_for: float) -> None:
        """A look has found a server in a state; take up the channels that lead to that server.

        ``open_for``: seconds for which some transaction has been open there.
        """
        self.sight, self.reading, self.open_for = sight, reading, open_for
        self.channels.prove(identity)
        self.channels.fill()
        if self.channels.proven:
            if not self.serving:
                self.serving, self.reason = True, ""
                log.info("database serves", database=self.name, role=self.role)
        elif self.serving:
            self.out("no_channels")
        self._hears.looked(self)

    def out(self, reason: str, said: str = "") -> None:
        """It does not serve; ``said`` is for the log."""
        changed = self.serving or self.reason != reason
        self.serving, self.reason = False, reason
        if changed:
            log.warning("database does not serve", database=self.name, reason=reason, said=said)
            self._hears.changed(self)

    def settle(self, *, fresh: bool) -> None:
        """Take note whether a look has found its state recent enough."""
        self._settling_looks = max(0, self._settling_looks - 1) if fresh else SETTLING_LOOKS
        self.settling = self._settling_looks > 0

    async def fetch(self, channel: Channel, keys: Sequence[str], deadline: float) -> Rows:
        """Rows of these keys by a channel from ``take``. Raises Unavailable."""
        return await self.channels.fetch(channel, keys, deadline)

    def give_back(self, channel: Channel) -> None:
        """Return a channel from ``take`` that was not used."""
        self.channels.give_back(channel)

    def sweep(self, now: float) -> None:
        """End look-ups that are late. A server that lets them be late does not serve."""
        if self.channels.sweep(now):
            self.out("timeout")


class Hears(Protocol):
    """Who hears what becomes of a target; called in the middle of it, so it must not wait."""

    def looked(self, target: Target) -> None:
        """A look has found it: its reading is new."""

    def changed(self, target: Target) -> None:
        """It has stopped serving, or does not serve for another reason."""
