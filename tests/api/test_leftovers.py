"""C15: what is sent after a refusal is passed over, and keeps nobody else waiting."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol

from verifier.api.server.leftovers import Leftovers


def body() -> StreamReader:
    """A body of which nothing has arrived."""
    loop = asyncio.get_running_loop()
    return StreamReader(BaseProtocol(loop), 1 << 16, loop=loop)


async def turns(count: int) -> None:
    """Let the event loop go round so often."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_c15_in_one_round_one_piece_of_one_body_is_read() -> None:
    """However many send, others wait for one of them."""
    leftovers = Leftovers(5.0, 100)
    bodies = [body() for _ in range(20)]
    for each in bodies:
        each.feed_data(b"x" * 100)
    waiting = asyncio.gather(*(leftovers.pass_over(each) for each in bodies))
    unread = [20]
    async with asyncio.timeout(5):
        while unread[-1]:
            await asyncio.sleep(0)
            unread.append(sum(each.total_bytes > 0 and bool(each._buffer) for each in bodies))
    assert max(a - b for a, b in pairwise(unread)) == 1
    for each in bodies:
        each.feed_eof()
    await waiting


async def test_what_arrives_later_is_read_too() -> None:
    """A body is passed over to its end."""
    leftovers = Leftovers(5.0, 100)
    late = body()
    waiting = asyncio.create_task(leftovers.pass_over(late))
    for _ in range(3):
        late.feed_data(b"x" * 100)
        async with asyncio.timeout(5):
            while late._buffer:
                await asyncio.sleep(0.001)
        assert not waiting.done()
    late.feed_eof()
    await waiting


async def test_one_that_does_not_end_is_given_up() -> None:
    """TimeoutError after the time that each may take."""
    leftovers = Leftovers(0.01, 100)
    with pytest.raises(TimeoutError):
        await leftovers.pass_over(body())


async def test_c15_beyond_the_bound_none_is_waited_for() -> None:
    """One more is given up at once, and has its place when another has ended."""
    leftovers = Leftovers(5.0, 1)
    first, second = body(), body()
    waiting = asyncio.create_task(leftovers.pass_over(first))
    await turns(2)
    with pytest.raises(TimeoutError):
        await leftovers.pass_over(second)
    first.feed_eof()
    await waiting
    second.feed_eof()
    await leftovers.pass_over(second)


async def test_one_that_is_gone_is_left_at_once() -> None:
    """It does not wait for its turn, and others go on."""
    leftovers = Leftovers(5.0, 100)
    gone, other = body(), body()
    waiting = [asyncio.create_task(leftovers.pass_over(each)) for each in (gone, other)]
    await turns(2)
    gone.set_exception(ConnectionResetError())
    other.feed_data(b"x")
    with pytest.raises(ConnectionResetError):
        await waiting[0]
    other.feed_eof()
    await waiting[1]


async def test_reading_starts_again_after_it_has_come_to_an_end() -> None:
    """When none was left and a new one comes, it is read."""
    leftovers = Leftovers(5.0, 100)
    for _ in range(2):
        each = body()
        each.feed_data(b"x")
        waiting = asyncio.create_task(leftovers.pass_over(each))
        async with asyncio.timeout(5):
            while each._buffer:
                await asyncio.sleep(0.001)
        each.feed_eof()
        await waiting
        await asyncio.sleep(0.01)
