"""``POST /v1/verify/stream``: questions in, answers out, both at once, memory bounded.

What is held is one block of lines and its answers: the next block is read only when the answers
are written, so a client that reads slowly slows down its own sending and nothing else.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from aiohttp import ClientPayloadError, web

from verifier.api import codec, problems, tokens
from verifier.api.body import blocks_of_lines
from verifier.api.handlers import Bulk, Counts
from verifier.config import Config
from verifier.engine.verifier import Item, Verifier
from verifier.errors import BadRequest, Unavailable
from verifier.metrics import Metrics

NDJSON = {"Content-Type": "application/x-ndjson"}

# A client that has stopped reading does not get longer than this for the last line.
LAST_WRITE_SECONDS = 1.0


class Streams:
    """Serves streams and ends them honestly: only a whole one says ``"complete": true``."""

    def __init__(
        self, verifier: Verifier, encoder: codec.Encoder, config: Config, metrics: Metrics
    ) -> None:
        self._verifier = verifier
        self._encoder = encoder
        self._config = config
        self._metrics = metrics
        self._counts = Counts(metrics, "stream")
        self._under_way: set[asyncio.Timeout] = set()
        self._draining = False
        metrics.in_progress.labels("stream").set_function(lambda: len(self._under_way))

    def drain(self) -> None:
        """End every stream at its next wait, with an incomplete summary."""
        self._draining = True
        for timeout in self._under_way:
            timeout.reschedule(0)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Answers in the order of the lines, while the request is still being sent."""
        try:
            self._admit()
            fresh = tokens.wanted(request)
        except (BadRequest, Unavailable) as error:
            self._metrics.http_errors.add("stream", error.code)
            return problems.of_error(request, error)
        response = web.StreamResponse(headers=NDJSON)
        await response.prepare(request)
        bulk = Bulk(
            self._verifier, self._encoder, self._counts, problems.language(request), fresh=fresh
        )
        ended = ""
        try:
            async with asyncio.timeout(self._config.idle_timeout) as timeout:
                self._under_way.add(timeout)
                try:
                    await self._answer(request, response, bulk, timeout)
                finally:
                    self._under_way.discard(timeout)
        except TimeoutError:
            ended = self._why_ended()
        except (ConnectionResetError, ClientPayloadError):
            # The client is gone; there is nobody to tell.
            self._metrics.http_errors.add("stream", "client_gone")
            return response
        await self._finish(request, response, bulk, ended)
        return response

    def _admit(self) -> None:
        if self._draining:
            raise Unavailable("closing")
        if len(self._under_way) >= self._config.max_streams:
            raise Unavailable("overloaded")

    def _why_ended(self) -> str:
        return "closing" if self._draining else "idle_timeout"

    async def _answer(
        self,
        request: web.Request,
        response: web.StreamResponse,
        bulk: Bulk,
        timeout: asyncio.Timeout,
    ) -> None:
        clock = asyncio.get_running_loop().time
        blocks = blocks_of_lines(request.content, self._config.max_line)
        async with aclosing(blocks):
            async for block in blocks:
                if block is None:
                    items: list[Item] = [codec.line_too_long(self._config.max_line)]
                else:
                    items = codec.decode_lines(block)
                async with aclosing(bulk.answer(items, b"\n")) as answers:
                    async for encoded in answers:
                        await response.write(encoded + b"\n")
                        timeout.reschedule(clock() + self._config.idle_timeout)

    async def _finish(
        self, request: web.Request, response: web.StreamResponse, bulk: Bulk, ended: str
    ) -> None:
        """Write the summary; a client that does not take it in is cut off."""
        last = b'{"summary":%b,"complete":%b%b}\n' % (
            bulk.summary(),
            b"false" if ended else b"true",
            b',"reason":"%b"' % ended.encode() if ended else b"",
        )
        try:
            async with asyncio.timeout(LAST_WRITE_SECONDS):
                await response.write(last)
                await response.write_eof()
        except (TimeoutError, ConnectionResetError):
            self._metrics.http_errors.add("stream", "client_gone")
            if request.transport is not None:
                request.transport.abort()
        if ended:
            # What the client still sends of this request is not read.
            response.force_close()
