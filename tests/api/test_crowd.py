"""Connections together: how many there may be in all, and of each client's address."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import cast

import pytest

from tests.engine.fakes import Clock
from verifier.api.server.addresses import Addresses
from verifier.api.server.crowd import Crowd
from verifier.api.server.refusals import Lines, Refusals
from verifier.config import Config

HERE, THERE = ("198.51.100.7", 1), ("198.51.100.8", 1)


class Client:
    """A connection and its transport in one."""

    def __init__(self, peer: object, *, silent: bool = False) -> None:
        self._peer = peer
        self.silent = silent
        self.closed = False
        self.said = b""

    def asked_nothing(self) -> bool:
        """Whether no request has come."""
        return self.silent

    def force_close(self) -> None:
        """Close."""
        self.closed = True

    abort = write_eof = force_close

    def write(self, data: bytes) -> None:
        """Take bytes."""
        self.said += data

    def get_extra_info(self, name: str) -> object:
        """Tell the peer's address."""
        assert name == "peername"
        return self._peer


class Door:
    """A crowd, what it counts, and who is in it."""

    def __init__(self, **settings: object) -> None:
        bounds = Config.of(**settings).connections
        self.counts: Counter[str] = Counter()
        refusals = Refusals(lambda _, code: self.counts.update([code]), Lines(1, Clock()))
        self.crowd = Crowd(bounds.max_connections, bounds, refusals)

    def comes(self, client: Client) -> bool:
        """Whether one more is admitted."""
        return self.crowd.admit(client, cast("asyncio.Transport", client))


@pytest.fixture
async def door() -> Door:
    """Two connections an address, ten in all."""
    return Door(max_connections=10, max_connections_per_address=2, trusted_proxies=("10.1.0.0/16",))


async def test_an_address_has_no_more_than_its_share(door: Door) -> None:
    """The next one from it is told so; those of another address are admitted."""
    assert [door.comes(Client(HERE)) for _ in range(2)] == [True, True]
    third = Client(HERE)
    assert not door.comes(third)
    assert third.said.startswith(b"HTTP/1.1 503 ")
    assert b'"reason":"overloaded"' in third.said
    assert door.counts == {"too_many_of_address": 1}
    assert door.comes(Client(THERE))


async def test_a_silent_connection_makes_room_for_its_own_address(door: Door) -> None:
    """The oldest of the address that has asked nothing; nobody else's."""
    others, asked = Client(THERE, silent=True), Client(HERE)
    first, second = Client(HERE, silent=True), Client(HERE, silent=True)
    for client in (others, asked, first, second):
        assert door.comes(client)
    assert [client.closed for client in (others, asked, first, second)] == [0, 0, 1, 0]
    assert door.counts == {"silent_connection": 1}


async def test_an_address_is_remembered_while_it_is_connected(door: Door) -> None:
    """With its last connection it is forgotten, and may have as many again."""
    clients = [Client((f"198.51.100.{number}", 1)) for number in range(5)]
    for client in clients:
        assert door.comes(client)
    assert door.crowd.addresses == 5
    for client in clients:
        door.crowd.leave(client)
    assert (door.crowd.addresses, len(door.crowd)) == (0, 0)
    assert [door.comes(Client(HERE)) for _ in range(3)] == [True, True, False]


async def test_who_is_turned_away_takes_nobodys_place(door: Door) -> None:
    """When it leaves, no more are admitted than before."""
    for _ in range(2):
        assert door.comes(Client(HERE))
    third = Client(HERE)
    assert not door.comes(third)
    door.crowd.leave(third)
    assert not door.comes(Client(HERE))
    assert len(door.crowd) == 2


async def test_a_closed_silent_connection_is_forgotten_once(door: Door) -> None:
    """It made room when it was closed; that it then leaves makes no more."""
    silent = Client(HERE, silent=True)
    assert all(door.comes(client) for client in (silent, Client(HERE), Client(HERE)))
    door.crowd.leave(silent)
    assert not door.comes(Client(HERE))


async def test_the_only_connection_of_an_address_may_make_room() -> None:
    """With a bound of one, too, the count is right afterwards."""
    door = Door(max_connections_per_address=1)
    first, second = Client(HERE, silent=True), Client(HERE)
    assert [door.comes(client) for client in (first, second, Client(HERE))] == [True, True, False]
    door.crowd.leave(first)
    door.crowd.leave(second)
    assert (door.crowd.addresses, len(door.crowd)) == (0, 0)


@pytest.mark.parametrize(
    "peer",
    [("127.0.0.9", 1), ("::1", 1, 0, 0), ("::ffff:127.0.0.1", 1, 0, 0), ("10.1.2.3", 1), None, ""],
    ids=["loopback", "IPv6 loopback", "mapped loopback", "trusted", "gone", "Unix socket"],
)
async def test_who_stands_for_others_is_not_counted(door: Door, peer: object) -> None:
    """As many as there may be in all."""
    assert all(door.comes(Client(peer)) for _ in range(10))
    assert not door.comes(Client(peer))
    assert door.counts == {"too_many_connections": 1}


async def test_the_bound_on_an_address_can_be_left_out() -> None:
    """With 0 only the one on all connections holds, and no addresses are kept."""
    door = Door(max_connections=10, max_connections_per_address=0)
    assert all(door.comes(Client(HERE)) for _ in range(10))
    assert door.crowd.addresses == 0


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("198.51.100.7", "198.51.100.8", False),
        ("198.51.100.7", "::ffff:198.51.100.7", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%1", "fe80::2%1", True),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, together: bool) -> None:
    """An IPv4 address in either spelling; of an IPv6 address the network, from which it is."""
    addresses = Addresses(())
    keys = [addresses.key_of((each, 1)) for each in (one, other)]
    assert None not in keys
    assert (keys[0] == keys[1]) is together


async def test_few_are_told_that_there_is_no_room() -> None:
    """An eighth of the bound lingers; those beyond are closed at once, and all are counted."""
    door = Door(max_connections=8, max_connections_per_address=1)
    clients = [Client(HERE) for _ in range(4)]
    assert [door.comes(client) for client in clients] == [True, False, False, False]
    assert [bool(client.said) for client in clients] == [False, True, False, False]
    assert door.counts == {"too_many_of_address": 3}
