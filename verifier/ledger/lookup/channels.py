"""Channels: the dedicated look-up connections to one server.

Each holds the prepared look-up and serves one query at a time. On the hot path there is a list of
free channels and nothing else: no pool, no reset query, no timer. Queries that are late are found
by ``sweep``, which terminates their connections.

A new channel is not used before ``prove``: a probe that began after it was opened must have found
the same server, else what the probe said about the server's state may not hold for it (the server
may have been restarted in between and have fallen back, or be another one).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Any

import asyncpg
import structlog

from verifier.database.connections import FAILURES, or_terminated, unavailable
from verifier.database.servers import identity_of
from verifier.errors import Unavailable
from verifier.ledger.lookup.invoices import LOOK_UP, asked

log = structlog.get_logger()

Rows = Sequence[Any]


class Channel:
    """One connection. ``deadline`` is infinite while it is free; ``identity`` names its server."""

    __slots__ = ("connection", "deadline", "identity", "look_up")

    def __init__(
        self,
        connection: asyncpg.Connection,
        look_up: Callable[..., Awaitable[Rows]],
        identity: str,
    ) -> None:
        self.connection = connection
        self.look_up = look_up
        self.identity = identity
        self.deadline = inf


class Channels:
    """Up to ``size`` channels to the server that a database's watch is at.

    ``connect`` opens a connection to it, for which it has so many ``seconds``. ``freed`` is called
    when a query has given its channel back. ``attention`` is set when the watch should look soon:
    a channel is gone, or new ones wait to be proven.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Awaitable[asyncpg.Connection]],
        size: int,
        seconds: float,
        freed: Callable[[], None],
    ) -> None:
        self._name = name
        self._connect = connect
        self._size = size
        self._seconds = seconds
        self._freed = freed
        self.attention = asyncio.Event()
        self.free: list[Channel] = []
        # Taken: with a query under way, or just about to.
        self.busy: set[Channel] = set()
        self._unproven: list[Channel] = []
        self._filling: asyncio.Task[None] | None = None

    @property
    def lacking(self) -> int:
        """How many more channels there should be."""
        return self._size - len(self.free) - len(self.busy) - len(self._unproven)

    @property
    def proven(self) -> int:
        """Channels that serve or could."""
        return len(self.free) + len(self.busy)

    @property
    def filling(self) -> bool:
        """Whether channels are being opened."""
        return self._filling is not None

    def fill(self) -> None:
        """Begin to open what is lacking, unless that is under way."""
        if self.lacking > 0 and self._filling is None:
            self._filling = asyncio.create_task(self._fill())

    def prove(self, identity: str) -> None:
        """Take up the channels that lead to the server that a later probe has just found.

        All that lead to another one go, the busy ones too: what they read would be taken for a
        state of this one.
        """
        # Attention is not asked for: a DSN that leads to several servers must not spin.
        for channel in [*self.free, *self.busy, *self._unproven]:
            if channel.identity != identity:
                self._forget(channel)
                channel.connection.terminate()
        opened, self._unproven = self._unproven, []
        self.free += opened

    def take(self) -> Channel | None:
        """A free channel for one ``fetch`` or ``give_back``, None when there is none."""
        if not self.free:
            return None
        channel = self.free.pop()
        self.busy.add(channel)
        return channel

    def give_back(self, channel: Channel) -> None:
        """Return a channel that was taken."""
        if channel in self.busy:
            self.busy.remove(channel)
            self.free.append(channel)
            self._freed()

    async def fetch(self, channel: Channel, keys: Sequence[str], deadline: float) -> Rows:
        """The rows of these keys, through a channel that was taken, which is given back.

        Raises Unavailable; the channel is then back too, or gone if its connection is. A caller
        that is cancelled costs the connection.
        """
        channel.deadline = deadline
        usable = False
        try:
            rows = await channel.look_up(asked(keys))
            # A result may have arrived just before the sweep.
            usable = channel.deadline != -inf
        except FAILURES as error:
            usable = not channel.connection.is_closed()
            late = channel.deadline == -inf
            raise (Unavailable("timeout") if late else unavailable(error)) from error
        finally:
            channel.deadline = inf
            if usable:
                self.give_back(channel)
            else:
                channel.connection.terminate()
                self._drop(channel)
        return rows

    def sweep(self, now: float) -> int:
        """Terminate the connections whose queries are late; how many there were."""
        late = [channel for channel in self.busy if channel.deadline < now]
        for channel in late:
            channel.deadline = -inf
            channel.connection.terminate()
        return len(late)

    async def close(self) -> None:
        """Open no more, and terminate all; queries under way become Unavailable."""
        filling, self._filling = self._filling, None
        if filling is not None:
            filling.cancel()
            with suppress(asyncio.CancelledError):
                await filling
        for channel in (*self._unproven, *self.free, *self.busy):
            channel.connection.terminate()

    async def _fill(self) -> None:
        try:
            while self.lacking > 0:
                await self._open()
        except FAILURES as error:
            # The next try is the next look's.
            log.warning("cannot open look-up connections", database=self._name, said=str(error))
        else:
            self.attention.set()
        finally:
            self._filling = None

    async def _open(self) -> None:
        """One channel more, which is yet to be proven. Raises what the database raises."""
        async with asyncio.timeout(self._seconds):
            connection = await self._connect()
            with or_terminated(connection):
                statement = await connection.prepare(LOOK_UP)
                identity = await identity_of(connection)
        channel = Channel(connection, statement.fetch, identity)
        connection.add_termination_listener(lambda _, gone=channel: self._drop(gone))
        self._unproven.append(channel)

    def _drop(self, channel: Channel) -> None:
        """A channel's connection is gone."""
        if self._forget(channel):
            self.attention.set()

    def _forget(self, channel: Channel) -> bool:
        """Take a channel out, wherever it is; whether it was anywhere."""
        if channel in self.busy:
            self.busy.remove(channel)
        elif channel in self.free:
            self.free.remove(channel)
        elif channel in self._unproven:
            self._unproven.remove(channel)
        else:
            return False
        return True
