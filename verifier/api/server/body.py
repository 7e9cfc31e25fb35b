"""Reading request bodies within bounds of size and time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from io import BytesIO

from aiohttp import StreamReader, hdrs, web
from aiohttp.web_protocol import RequestPayloadError

from verifier.config import Requests
from verifier.errors import BadRequest, Unavailable


def compressed(request: web.BaseRequest) -> bool:
    """Whether the body has a content encoding; none is unpacked."""
    return request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity"


def refuse_compressed(request: web.BaseRequest) -> None:
    """Raise BadRequest when the body is compressed."""
    if compressed(request):
        raise BadRequest("content_encoding", "expected a body without Content-Encoding")


class Bodies:
    """Receives whole bodies, each within ``body_timeout``.

    All bodies in flight hold at most ``max_receiving`` bytes; bulk leaves an eighth to others.
    """

    def __init__(self, bounds: Requests) -> None:
        self._room = bounds.max_receiving
        self._kept = bounds.kept_from_bulk
        self._seconds = bounds.body_timeout

    async def read(self, request: web.BaseRequest, limit: int, *, bulk: bool = False) -> bytes:
        """The whole body, at most ``limit`` bytes; raises BadRequest and Unavailable.

        A small body arrives with its head and costs neither a timer nor a wait. aiohttp does not
        bound how long a body may trickle in; this does.
        """
        content = request.content
        if content.is_eof():
            body = _arrived(content)
            if len(body) > limit:
                raise _too_large(limit)
            return body
        if (request.content_length or 0) > limit:
            raise _too_large(limit)
        return await self._receive(content, limit, self._kept if bulk else 0)

    async def _receive(self, content: StreamReader, limit: int, spare: int) -> bytes:
        # Grows as the body does, and is its value without a copy: to join 2 MB of blocks would hold
        # the event loop for a millisecond, most of which goes into getting the memory.
        whole = BytesIO()
        size = 0
        try:
            async with asyncio.timeout(self._seconds):
                while block := await content.readany():
                    size += len(block)
                    self._room -= len(block)
                    if size > limit:
                        raise _too_large(limit)
                    if self._room < spare:
                        raise Unavailable("overloaded")
                    whole.write(block)
        except TimeoutError:
            raise BadRequest(
                "body_timeout", f"expected the body within {self._seconds:g} s"
            ) from None
        finally:
            self._room += size
        return whole.getvalue()


def _too_large(limit: int) -> BadRequest:
    return BadRequest("body_too_large", f"expected at most {limit} bytes")


def _arrived(content: StreamReader) -> bytes:
    """A body that has arrived as a whole: read_nowait would take five times as long."""
    if type(content) is not StreamReader:
        # aiohttp has another class for "no body".
        return b""
    blocks = content._buffer  # noqa: SLF001 # aiohttp's own way looks after what may still come
    return blocks.popleft() if len(blocks) == 1 else content.read_nowait(-1)


async def some_of(content: StreamReader) -> bytes:
    """What has arrived of a body, as soon as there is any; nothing at its end.

    Raises RequestPayloadError where it broke off, once all that came before was taken: aiohttp
    raises it first, and would lose that.
    """
    try:
        return await content.readany()
    except RequestPayloadError:
        rest = content._read_nowait(-1) if type(content) is StreamReader else b""  # noqa: SLF001
        if not rest:
            raise
        return rest


def receiving(content: StreamReader, seconds: float) -> Callable[[], Awaitable[bytes]]:
    """Gives what has arrived of a body each time; BadRequest when nothing does for ``seconds``."""

    async def receive() -> bytes:
        try:
            async with asyncio.timeout(seconds):
                return await content.readany()
        except TimeoutError:
            raise BadRequest("body_timeout", f"expected more within {seconds:g} s") from None

    return receive
