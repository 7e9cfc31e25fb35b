"""Reading request bodies within bounds of size and time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from aiohttp import StreamReader, hdrs, web

from verifier.errors import BadRequest, Unavailable


def compressed(request: web.BaseRequest) -> bool:
    """Whether the body has a content encoding; none is unpacked."""
    return request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity"


def refuse_compressed(request: web.BaseRequest) -> None:
    """Raise BadRequest when the body is compressed."""
    if compressed(request):
        raise BadRequest("content_encoding", "expected a body without Content-Encoding")


class Bodies:
    """Receives whole bodies, each within ``seconds``.

    ``most`` bounds the bytes held of all those that are still being received; ``kept`` of them are
    for others than bulk.
    """

    def __init__(self, most: int, kept: int, seconds: float) -> None:
        self._room = most
        self._kept = kept
        self._seconds = seconds

    async def read(self, request: web.BaseRequest, limit: int, *, bulk: bool = False) -> bytes:
        """The whole body of at most ``limit`` bytes; raises BadRequest and Unavailable.

        A small body has arrived with its headers, which costs neither a timer nor a wait. A
        trickled one is not bounded by aiohttp.
        """
        content = request.content
        if content.is_eof():
            body = _arrived(content)
        else:
            body = await self._receive(content, limit, self._kept if bulk else 0)
        if len(body) > limit:
            raise BadRequest("body_too_large", f"expected at most {limit} bytes")
        return body

    async def _receive(self, content: StreamReader, limit: int, spare: int) -> bytes:
        blocks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._seconds):
                while size <= limit:
                    block = await content.readany()
                    if not block:
                        break
                    blocks.append(block)
                    size += len(block)
                    self._room -= len(block)
                    if self._room < spare:
                        raise Unavailable("overloaded")
        except TimeoutError:
            raise BadRequest(
                "body_timeout", f"expected the body within {self._seconds:g} s"
            ) from None
        finally:
            self._room += size
        return b"".join(blocks)


def _arrived(content: StreamReader) -> bytes:
    """A body that has arrived as a whole: what read_nowait returns, for a fifth of its time."""
    if type(content) is not StreamReader:
        # What stands for no body.
        return b""
    blocks = content._buffer  # noqa: SLF001 # aiohttp's own way looks after what may still come
    return blocks.popleft() if len(blocks) == 1 else content.read_nowait(-1)


async def blocks_of_lines(
    content: StreamReader, max_line: int, seconds: float | None = None
) -> AsyncGenerator[bytes | None]:
    """Blocks of whole lines as they arrive; None stands for one line that was too long.

    Holds at most one block and one partial line. The last line may lack its newline. Raises
    BadRequest when nothing arrives for ``seconds``.
    """
    partial = b""
    skipping = False
    while block := await _next_block(content, seconds):
        if skipping:
            _, newline, block = block.partition(b"\n")
            if not newline:
                continue
            skipping = False
        head, newline, tail = block.rpartition(b"\n")
        if newline:
            whole = partial + head
            partial = tail
            if _has_long_line(whole, max_line):
                for piece in _without_long_lines(whole, max_line):
                    yield piece
            else:
                yield whole
        else:
            partial += tail
        if len(partial) > max_line:
            partial = b""
            skipping = True
            yield None
    if partial:
        yield partial


async def _next_block(content: StreamReader, seconds: float | None) -> bytes:
    try:
        async with asyncio.timeout(seconds):
            return await content.readany()
    except TimeoutError:
        raise BadRequest("body_timeout", f"expected more within {seconds:g} s") from None


def _has_long_line(block: bytes, max_line: int) -> bool:
    start = 0
    while len(block) - start > max_line:
        newline = block.rfind(b"\n", start, start + max_line + 1)
        if newline < 0:
            return True
        start = newline + 1
    return False


def _without_long_lines(block: bytes, max_line: int) -> list[bytes | None]:
    """Whole lines as they are, with None in the place of each that is too long."""
    pieces: list[bytes | None] = []
    kept: list[bytes] = []
    for line in block.split(b"\n"):
        if len(line) <= max_line:
            kept.append(line)
            continue
        if kept:
            pieces.append(b"\n".join(kept))
            kept = []
        pieces.append(None)
    if kept:
        pieces.append(b"\n".join(kept))
    return pieces
