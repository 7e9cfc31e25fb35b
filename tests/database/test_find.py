"""Tests of which host of a DSN is kept, over servers that are made by hand."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, cast

import asyncpg
import pytest

from verifier.database.connections import Role
from verifier.database.hosts import Contact, find, single_hosts
from verifier.database.scouts import scouted
from verifier.database.timelines import Timelines
from verifier.errors import ConfigError


class FakeServer:
    """A server that says what it is, once it is let."""

    def __init__(self, *, standby: bool = False, timeline: int = 1, answers: bool = True) -> None:
        self.standby = standby
        self.timeline = timeline
        self.closed = False
        self.fails = False
        # Goes on when it is cancelled, as an answer does that has just arrived.
        self.stubborn = False
        self.is_broken = False
        self._answers = asyncio.Event()
        if answers:
            self.answer()

    def answer(self) -> None:
        """Let it speak."""
        self._answers.set()

    async def connect(self) -> FakeServer:
        """Take the connection."""
        if self.fails:
            raise OSError("refused")
        return self

    async def fetch(self, _: str) -> list[tuple[Any, ...]]:
        """Tell its state."""
        try:
            await self._answers.wait()
        except asyncio.CancelledError:
            if not self.stubborn:
                raise
        if self.is_broken:
            raise OSError("broken")
        return [("7", self.standby, self.timeline, 0, True)]

    def terminate(self) -> None:
        """Note that its connection is gone."""
        self.closed = True


class Network:
    """Servers by DSN, and what the cluster has shown."""

    def __init__(self, **servers: FakeServer) -> None:
        self.servers = servers
        self.timelines = Timelines()

    async def find(self, role: Role, seconds: float = 5.0) -> Contact:
        """The server that is kept."""

        async def connect(dsn: str) -> asyncpg.Connection:
            return cast("asyncpg.Connection", await self.servers[dsn].connect())

        return await find(list(self.servers), role, connect, seconds, self.timelines)

    def closed(self) -> dict[str, bool]:
        """Whether each server's connection is gone."""
        return {dsn: server.closed for dsn, server in self.servers.items()}


async def test_the_first_replica_that_answers_is_kept() -> None:
    """A silent host beside it costs nothing, and no connection is left behind."""
    network = Network(silent=FakeServer(answers=False), one=FakeServer(standby=True))
    async with asyncio.timeout(1):
        contact = await network.find("replica")
        assert (contact.dsn, contact.cluster, contact.timeline) == ("one", "7", 1)
        assert contact.in_recovery is True
        while not network.servers["silent"].closed:
            await asyncio.sleep(0)
    assert network.closed() == {"silent": True, "one": False}


async def test_a_primary_of_the_highest_timeline_known_is_enough() -> None:
    """The others are not waited for once one of that timeline, or of a newer one, has answered."""
    for known, timeline in ((1, 1), (3, 3), (3, 4)):
        network = Network(silent=FakeServer(answers=False), one=FakeServer(timeline=timeline))
        network.timelines.noticed("7", known)
        async with asyncio.timeout(1):
            assert (await network.find("primary")).dsn == "one"


@pytest.mark.parametrize("known", [0, 4])
async def test_an_older_primary_waits_for_the_others(known: int) -> None:
    """Who took over may be slower; before any timeline is known each is heard out."""
    slow = FakeServer(timeline=4, answers=False)
    network = Network(old=FakeServer(timeline=3), slow=slow)
    if known:
        network.timelines.noticed("7", known)
    finding = asyncio.create_task(network.find("primary"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not finding.done()
    slow.answer()
    assert (await finding).dsn == "slow"
    assert network.closed() == {"old": True, "slow": False}


async def test_until_each_witness_was_tried_no_primary_is_enough() -> None:
    """One that is the newest by what is known so far may have been left behind."""
    slow = FakeServer(timeline=4, answers=False)
    network = Network(old=FakeServer(timeline=3), slow=slow)
    network.timelines = Timelines(["witness"])
    network.timelines.noticed("7", 3)
    finding = asyncio.create_task(network.find("primary"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not finding.done()
    slow.answer()
    assert (await finding).dsn == "slow"


async def test_the_role_counts_for_more_than_the_timeline() -> None:
    """A replica of a higher timeline is no primary, and is kept only when there is none."""
    network = Network(one=FakeServer(timeline=1), two=FakeServer(standby=True, timeline=9))
    assert (await network.find("primary")).dsn == "one"
    network = Network(
        one=FakeServer(standby=True, timeline=1), two=FakeServer(standby=True, timeline=2)
    )
    assert (await network.find("primary")).dsn == "two"
    assert network.closed() == {"one": True, "two": False}


async def test_a_host_that_is_late_is_given_up() -> None:
    """Each within its own bound; the one that answered is kept, the late one's connection ended."""
    network = Network(late=FakeServer(answers=False), one=FakeServer(standby=True))
    async with asyncio.timeout(1):
        assert (await network.find("primary", seconds=0.01)).dsn == "one"
    assert network.servers["late"].closed


async def test_an_answer_that_comes_after_all_leaves_no_connection() -> None:
    """Nobody waits for it any more, so its connection is ended by itself."""
    late = FakeServer(standby=True, answers=False)
    late.stubborn = True
    network = Network(one=FakeServer(standby=True), late=late)
    assert (await network.find("replica")).dsn == "one"
    for _ in range(10):
        await asyncio.sleep(0)
    assert network.closed() == {"one": False, "late": True}


async def test_without_an_answer_the_error_of_a_host_is_raised() -> None:
    """A host that refuses while another one is late, or both refuse."""
    network = Network(one=FakeServer(), two=FakeServer())
    for server in network.servers.values():
        server.fails = True
    with pytest.raises(OSError, match="refused"):
        await network.find("primary")


async def test_who_is_cancelled_leaves_no_connection() -> None:
    """Neither one that has answered nor one that will."""
    network = Network(old=FakeServer(timeline=3), silent=FakeServer(answers=False))
    finding = asyncio.create_task(network.find("primary"))
    for _ in range(10):
        await asyncio.sleep(0)
    finding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finding
    for _ in range(10):
        await asyncio.sleep(0)
    assert network.closed() == {"old": True, "silent": True}


def test_an_empty_value_of_a_dsn_stays() -> None:
    """What is asked besides hosts and ports comes along in its order, empty or not."""
    assert single_hosts("postgresql:///db?a=&host=x,y&b=1%202") == [
        "postgresql:///db?a=&b=1%202&host=x",
        "postgresql:///db?a=&b=1%202&host=y",
    ]
    assert single_hosts("postgresql://one,two:2?a=1") == [
        "postgresql://one?a=1",
        "postgresql://two:2?a=1",
    ]


@pytest.mark.parametrize("ports", ["1,2", "1,2,3,4"])
def test_there_is_one_port_or_one_for_each_host(ports: str) -> None:
    """Anything else is a mistake, and the message says what is wanted."""
    with pytest.raises(ConfigError, match="expected one port, or as many as hosts"):
        single_hosts(f"postgresql:///db?host=a,b,c&port={ports}")


def test_the_hosts_that_share_a_dsn_are_scouted() -> None:
    """Each once, in their order; a host that has a DSN to itself is watched anyway."""
    dsns = ["postgresql://a,b/db", "postgresql://c/db", "postgresql://b,d,e/db"]
    assert scouted(dsns) == [f"postgresql://{host}/db" for host in "abde"]


@pytest.mark.parametrize("stubborn", [False, True])
async def test_attempts_that_are_given_up_tell_of_no_error(stubborn: bool) -> None:
    """Whether they end at once, or fail when nobody waits for them any more."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    late = FakeServer(standby=True, answers=False)
    late.stubborn = late.is_broken = stubborn
    network = Network(one=FakeServer(standby=True), late=late)
    await network.find("replica")
    async with asyncio.timeout(1):
        while not late.closed:
            await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
    gc.collect()  # an error that nobody has looked at is told of then
    assert told == []
