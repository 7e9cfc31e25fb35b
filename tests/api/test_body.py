"""Bodies that break off."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.web_protocol import RequestPayloadError

from verifier.api.server.body import some_of


async def test_b14_what_came_before_a_body_broke_off_is_taken() -> None:
    """Though both are known at once, as when a client sends and half-closes before we look."""
    loop = asyncio.get_running_loop()
    content = StreamReader(BaseProtocol(loop), 1 << 16, loop=loop)
    content.feed_data(b"two ")
    content.feed_data(b"pieces")
    content.set_exception(RequestPayloadError("no more of the body will come"))
    assert await some_of(content) == b"two pieces"
    with pytest.raises(RequestPayloadError):
        await some_of(content)
