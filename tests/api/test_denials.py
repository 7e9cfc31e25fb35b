"""Denials at the front desk: what they say, and how much of it an address may hear."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.api import keyed
from tests.api.test_desk_alike import asking
from tests.api.twins import Line, Side, rounds
from verifier.api.server import denials
from verifier.api.server.denials import AT_ONCE, PER_SECOND

PEER, OTHER = ("203.0.113.7", 1), ("203.0.113.8", 1)
GOOD = asking(keyed.GOOD_FIELDS[0])
BAD = asking(keyed.fields_of(keyed.UNKNOWN)[0])
# Any question of the desk is answered by then.
ROUNDS = 30


@pytest.fixture
async def side() -> AsyncIterator[Side]:
    """Give a server with a desk that asks for keys."""
    side = Side(100, keyed.Keys().keyring)
    await side.start()
    yield side
    await side.runner.cleanup()


async def connected(side: Side, peer: tuple[str, int] | None = PEER) -> Line:
    """A client's connection, which waits for a request."""
    line = Line(side, peer)
    await rounds(3)
    return line


async def said(line: Line, data: bytes) -> bytes:
    """What comes back; a connection that rests is not heard at all."""
    line.said.clear()
    if not line.paused:
        line.protocol.data_received(data)
        await rounds(ROUNDS)
    return bytes(line.said)


async def denied(line: Line, times: int) -> int:
    """How many of so many questions without a good key are denied before the connection rests."""
    for number in range(times):
        if line.paused:
            return number
        assert (await said(line, BAD)).startswith(b"HTTP/1.1 401 ")
    return times


async def test_a_denial_is_counted_where_the_boundary_would(side: Side) -> None:
    """As a refused request, by its reason; it is no question that was answered."""
    await denied(await connected(side), 3)
    errors = {"route": "verify", "code": "wrong_key"}
    assert side.value("verifier_http_errors_total", **errors) == 3
    refused = {"endpoint": "verify", "outcome": "refused"}
    assert side.value("verifier_request_duration_seconds_count", **refused) == 3
    assert side.value("verifier_offered_questions_total", endpoint="verify") == 0


async def test_no_head_is_kept_that_was_denied(side: Side) -> None:
    """Who has no key cannot have those of others forgotten."""
    await denied(await connected(side), 5)
    assert len(side.desk) == 0


async def test_too_many_denials_let_a_connection_rest(side: Side) -> None:
    """After those that are told at once, give or take one by a rounding, nothing is read."""
    assert AT_ONCE <= await denied(await connected(side), 2 * AT_ONCE) <= AT_ONCE + 1


async def test_who_rests_is_heard_again(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, once for each rest."""
    monkeypatch.setattr(denials, "REST", 0.05)
    line = await connected(side)
    assert await denied(line, 2 * AT_ONCE) < 2 * AT_ONCE
    async with asyncio.timeout(5):
        while line.paused:
            await asyncio.sleep(0.01)
    assert await denied(line, 5) == 1


async def test_a_connection_that_is_gone_is_not_heard_again(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may end while it rests."""
    monkeypatch.setattr(denials, "REST", 0.01)
    line = await connected(side)
    await denied(line, 2 * AT_ONCE)
    line.close()
    await asyncio.sleep(0.03)
    assert line.paused


async def test_who_has_a_good_key_does_not_rest(side: Side) -> None:
    """On a connection of the same address, also while another one rests."""
    bad, good = await connected(side), await connected(side)
    await denied(bad, 2 * AT_ONCE)
    for _ in range(2 * AT_ONCE):
        assert (await said(good, GOOD)).startswith(b"HTTP/1.1 200 ")
    assert (bad.paused, good.paused) == (True, False)


async def test_all_connections_of_an_address_count_together(side: Side) -> None:
    """Each further denial lets its own connection rest."""
    await denied(await connected(side), AT_ONCE)
    for _ in range(3):
        assert await denied(await connected(side), 5) == 1


async def test_addresses_are_apart(side: Side) -> None:
    """One that is denied too often takes nothing from another."""
    await denied(await connected(side), 2 * AT_ONCE)
    assert await denied(await connected(side, OTHER), AT_ONCE) == AT_ONCE


async def test_denials_that_come_slowly_let_nobody_rest(side: Side) -> None:
    """As many a second as are allowed, for ever."""
    line = await connected(side)
    await denied(line, AT_ONCE - 1)
    for _ in range(3 * AT_ONCE):
        side.clock.now += 1.01 / PER_SECOND
        assert await denied(line, 1) == 1
    assert not line.paused


async def test_debts_do_not_grow(side: Side) -> None:
    """However many came: a second later as many more are told as a second brings."""
    line = await connected(side)
    for _ in range(50):
        await denied(line, 2 * AT_ONCE)
        line.paused = False
    side.clock.now += 1.01
    assert await denied(line, 2 * AT_ONCE) == PER_SECOND


@pytest.mark.parametrize("peer", [("127.0.0.1", 1), ("::1", 1), None])
async def test_a_balancer_s_connections_do_not_rest(
    side: Side, peer: tuple[str, int] | None
) -> None:
    """They are many clients; nor does one whose address nobody knows."""
    line = await connected(side, peer)
    assert await denied(line, 3 * AT_ONCE) == 3 * AT_ONCE


async def test_memory_is_bounded(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """The addresses that were denied last are counted, each of however many."""
    assert denials._ADDRESSES == 4_096
    monkeypatch.setattr(denials, "_ADDRESSES", 8)
    for number in range(100):
        await denied(await connected(side, (f"198.51.100.{number}", 1)), 1)
    assert len(side.desk.denials._due) == 8
