"""Tests of the dedicated connections, over connections that are made by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from verifier.errors import Unavailable
from verifier.ledger.lookup.channels import Channel, Channels
from verifier.ledger.lookup.invoices import LOOK_UP


class FakeConnection:
    """A connection whose queries the test answers."""

    def __init__(self, identity: str = "1 100") -> None:
        self.identity = identity
        self.prepared: list[str] = []
        self.queries: list[asyncio.Future[list[tuple[str]]]] = []
        self.closed = False
        self._listeners: list[Callable[[Any], None]] = []

    async def prepare(self, statement: str) -> FakeConnection:
        """Prepare: it is its own statement."""
        self.prepared.append(statement)
        return self

    async def fetchval(self, _: str) -> str:
        """Tell the identity."""
        return self.identity

    async def fetch(self, _: list[str]) -> list[tuple[str]]:
        """Wait for the test's answer."""
        if self.closed:
            raise asyncpg.InterfaceError("connection is closed")
        self.queries.append(asyncio.get_running_loop().create_future())
        return await self.queries[-1]

    def add_termination_listener(self, listener: Callable[[Any], None]) -> None:
        """Remember who wants to know."""
        self._listeners.append(listener)

    def is_closed(self) -> bool:
        """Tell whether it was terminated."""
        return self.closed

    def terminate(self) -> None:
        """Fail the query under way, and tell the listeners in the next turn, like asyncpg."""
        if not self.closed:
            self.closed = True
            for query in self.queries:
                if not query.done():
                    query.set_exception(asyncpg.ConnectionDoesNotExistError("closed"))
            for listener in self._listeners:
                asyncio.get_running_loop().call_soon(listener, self)


class Server:
    """Channels to a server that hands out fake connections."""

    def __init__(self, size: int = 1) -> None:
        self.connections: list[FakeConnection] = []
        self.identity = "1 100"
        self.freed = 0
        self.channels = Channels("one", self._connect, size, 1.0, self._on_freed)

    async def _connect(self) -> Any:
        self.connections.append(FakeConnection(self.identity))
        return self.connections[-1]

    def _on_freed(self) -> None:
        self.freed += 1

    async def fill(self) -> None:
        """Open what is lacking."""
        self.channels.fill()
        await settled()
        assert not self.channels.filling

    def attention(self) -> bool:
        """Whether the watch was asked to look soon, since the last time."""
        asked = self.channels.attention.is_set()
        self.channels.attention.clear()
        return asked

    def take(self) -> Channel:
        """Take a channel that must be there."""
        channel = self.channels.take()
        assert channel is not None
        return channel

    def ask(self, deadline: float = 10.0) -> asyncio.Task[Any]:
        """Begin a query."""
        return asyncio.create_task(self.channels.fetch(self.take(), ["a"], deadline))


async def proven(size: int = 1) -> Server:
    """Open channels and prove them."""
    server = Server(size)
    await server.fill()
    server.channels.prove(server.identity)
    assert server.attention()
    return server


async def settled() -> None:
    """Let all tasks run until they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_channel_is_used_only_after_a_probe() -> None:
    """A new connection serves once a probe that came later has found the same server."""
    server = Server(2)
    await server.fill()
    assert server.channels.take() is None
    server.channels.prove("1 100")
    assert len(server.channels.free) == 2


async def test_channel_to_another_server_is_dropped() -> None:
    """A connection that leads to another server, or another start of it, is given up."""
    server = Server(1)
    await server.fill()
    server.channels.prove("1 200")
    assert server.channels.take() is None
    assert server.connections[0].closed
    assert server.channels.lacking == 1


async def test_query_gives_its_channel_back() -> None:
    """After the rows the channel is free again."""
    server = await proven()
    query = server.ask()
    await settled()
    assert server.channels.take() is None
    server.connections[0].queries[0].set_result([("a",)])
    assert await query == [("a",)]
    assert len(server.channels.free) == 1
    assert not server.channels.busy
    assert server.freed == 1


async def test_late_query_is_a_timeout() -> None:
    """A sweep after the deadline ends the query and its connection."""
    server = await proven()
    query = server.ask(deadline=5.0)
    await settled()
    assert server.channels.sweep(4.0) == 0
    assert server.channels.sweep(6.0) == 1
    with pytest.raises(Unavailable, match="timeout"):
        await query
    assert server.channels.lacking == 1
    await settled()
    assert server.attention()


async def test_rows_that_arrive_with_the_sweep_are_kept() -> None:
    """Rows that came just before the sweep are returned, but the connection is gone."""
    server = await proven()
    query = server.ask(deadline=5.0)
    await settled()
    server.connections[0].queries[0].set_result([("a",)])
    server.channels.sweep(6.0)
    assert await query == [("a",)]
    assert server.channels.free == []
    assert server.channels.lacking == 1


async def test_failing_statement_keeps_the_connection() -> None:
    """An error of the statement alone, such as a recovery conflict, costs no connection."""
    server = await proven()
    query = server.ask()
    await settled()
    server.connections[0].queries[0].set_exception(asyncpg.SerializationError("conflict"))
    with pytest.raises(Unavailable, match="recovery_conflict"):
        await query
    assert len(server.channels.free) == 1


async def test_cancelled_query_costs_the_connection() -> None:
    """A caller that is cancelled leaves no channel behind that still has rows to come."""
    server = await proven()
    query = server.ask()
    await settled()
    query.cancel()
    with pytest.raises(asyncio.CancelledError):
        await query
    assert server.connections[0].closed
    assert server.channels.lacking == 1
    assert not server.channels.busy


async def test_lost_connection_leaves_the_free_ones() -> None:
    """A free channel whose connection goes away is not given to anyone, and is replaced."""
    server = await proven(2)
    server.connections[0].terminate()
    await settled()
    assert server.attention()
    assert len(server.channels.free) == 1
    await server.fill()
    server.channels.prove("1 100")
    assert len(server.channels.free) == 2


async def test_connection_lost_between_taking_and_asking() -> None:
    """A channel whose connection goes just after it was taken fails as a lost one."""
    server = await proven()
    channel = server.take()
    server.connections[0].terminate()
    await settled()
    with pytest.raises(Unavailable, match="no_database"):
        await server.channels.fetch(channel, ["a"], 10.0)
    server.channels.give_back(channel)
    assert server.channels.free == []
    assert server.channels.lacking == 1
    assert server.attention()


async def test_taken_channels_count() -> None:
    """A channel that is taken but has not asked yet is not opened a second time."""
    server = await proven()
    channel = server.take()
    assert server.channels.lacking == 0
    server.channels.give_back(channel)
    assert len(server.channels.free) == 1


async def test_close_ends_queries() -> None:
    """Queries under way at the end become Unavailable; what is being opened is opened no more."""
    server = await proven(2)
    query = server.ask()
    await settled()
    server.connections[0].terminate()
    await settled()
    server.channels.fill()
    await server.channels.close()
    with pytest.raises(Unavailable):
        await query
    assert not server.channels.filling
    assert all(connection.closed for connection in server.connections)


async def test_channels_to_another_server_go_free_or_busy() -> None:
    """When the watch finds another server, nothing is read over the old one's channels (A1)."""
    server = await proven(2)
    query = server.ask()
    await settled()
    assert (len(server.channels.free), len(server.channels.busy)) == (1, 1)
    server.channels.prove("1 200")
    assert server.channels.take() is None
    assert all(connection.closed for connection in server.connections)
    with pytest.raises(Unavailable):
        await query
    await settled()
    assert server.channels.lacking == 2
    # The watch opens new ones by itself: a DSN with several servers must not spin.
    assert not server.attention()


async def test_a_channel_is_kept_while_the_server_is_the_same() -> None:
    """A probe that finds the same server costs nobody a connection."""
    server = await proven(2)
    query = server.ask()
    await settled()
    server.channels.prove(server.identity)
    assert (len(server.channels.free), len(server.channels.busy)) == (1, 1)
    server.connections[-1].queries[0].set_result([("a",)])
    assert await query == [("a",)]


async def test_a_channel_prepares_the_look_up() -> None:
    """What it asks is prepared once, when it is opened."""
    server = await proven()
    assert server.connections[0].prepared == [LOOK_UP]


async def test_the_channel_that_is_given_back_is_the_one_that_was_taken() -> None:
    """It is the same connection that the next one takes, and a waiter is told."""
    server = await proven()
    channel, freed = server.take(), server.freed
    server.channels.give_back(channel)
    assert server.freed == freed + 1
    assert server.take() is channel
    assert server.channels.busy == {channel}


async def test_a_channel_that_is_taken_again_is_not_late() -> None:
    """Its last query's deadline says nothing of the next, which has not begun."""
    server = await proven()
    query = server.ask(deadline=5.0)
    await settled()
    server.connections[0].queries[0].set_result([])
    await query
    server.take()
    assert server.channels.sweep(6.0) == 0


async def test_a_channel_that_was_swept_is_offered_to_nobody() -> None:
    """Not for a moment, although its rows have arrived."""
    server = await proven()
    query = server.ask(deadline=5.0)
    await settled()
    freed = server.freed
    server.connections[0].queries[0].set_result([("a",)])
    server.channels.sweep(6.0)
    await query
    assert server.freed == freed
