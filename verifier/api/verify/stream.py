"""``POST /v1/verify/stream``: questions in, answers out, both at once, memory bounded.

What is held is one block of lines and its answers: the next block is read only when the answers
are written, so a client that reads slowly slows down its own sending and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

from aiohttp import ClientPayloadError, web
from aiohttp.web_protocol import RequestPayloadError

from verifier.api.server import problems
from verifier.api.server.body import refuse_compressed
from verifier.api.server.readers import Cut, Readers
from verifier.api.server.refusals import drop_frames
from verifier.api.verify.handlers import TOKEN, Bulk, Counts
from verifier.config import Config
from verifier.engine.verifier import Verifier
from verifier.errors import BadRequest, Unavailable
from verifier.invoice.claim import Item
from verifier.metrics import Metrics
from verifier.pacing import Turns
from verifier.wire import answers, questions
from verifier.wire import batches as reading
from verifier.wire.ndjson import blocks_of_lines
from verifier.wire.tokens import Tokens

NDJSON = {"Content-Type": "application/x-ndjson"}

# A client does not get longer than this to take in the last line, and to end its own side.
LAST_WRITE_SECONDS = 1.0


class Streams:
    """Serves streams and ends them honestly: only a whole one says ``"complete": true``."""

    def __init__(
        self,
        verifier: Verifier,
        encoder: answers.Encoder,
        turns: Turns,
        tokens: Tokens,
        readers: Readers,
        config: Config,
        metrics: Metrics,
    ) -> None:
        self._verifier = verifier
        self._encoder = encoder
        self._readers = readers
        self._turns = turns
        self._tokens = tokens
        self._config = config
        self._metrics = metrics
        self._counts = Counts(metrics, "stream")
        self._under_way: set[_Patience] = set()
        self._draining = False
        metrics.in_progress.labels("stream").set_function(lambda: len(self._under_way))

    def drain(self) -> None:
        """End every stream at its next wait, with an incomplete summary."""
        self._draining = True
        for patience in self._under_way:
            patience.end()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Answers in the order of the lines, while the request is still being sent."""
        try:
            self._admit()
            refuse_compressed(request)
            at_least = self._tokens.position(request.headers.get(TOKEN))
        except (BadRequest, Unavailable) as error:
            self._metrics.http_errors.add("stream", error.code)
            return problems.of_error(request, error)
        response = web.StreamResponse(headers=NDJSON)
        await response.prepare(request)
        bulk = Bulk(
            self._verifier,
            self._encoder,
            self._counts,
            self._turns,
            problems.language(request),
            at_least=at_least,
            after=b"\n",
        )
        stream = _Stream(request, response, bulk, self._turns, self._readers, self._config)
        ended = ""
        try:
            try:
                async with asyncio.timeout(None) as timeout:
                    patience = _Patience(timeout, self._config.idle_timeout)
                    self._under_way.add(patience)
                    if self._draining:
                        patience.end()
                    try:
                        await stream.answer(patience)
                    finally:
                        self._under_way.discard(patience)
            except TimeoutError:
                ended = "closing" if self._draining else "idle_timeout"
            except RequestPayloadError as error:
                ended = "broken_body"
                drop_frames(error)
            await stream.end(ended)
        except (ConnectionResetError, ClientPayloadError) as error:
            # The client is gone; there is nobody to tell.
            ended = "client_gone"
            drop_frames(error)
        if ended:
            self._metrics.http_errors.add("stream", ended)
        # Nothing can be written any more to who is gone.
        return Cut() if ended == "client_gone" else response

    def _admit(self) -> None:
        if self._draining:
            raise Unavailable("closing")
        if len(self._under_way) >= self._config.max_streams:
            raise Unavailable("overloaded")


class _Patience:
    """How long a stream waits for its client: so many seconds each time, until it has to end.

    What takes long on our side, because others have their turns, is no standstill.
    """

    def __init__(self, timeout: asyncio.Timeout, seconds: float) -> None:
        self._timeout = timeout
        self._seconds = seconds
        self._is_over = False

    def begin(self) -> None:
        """The client is waited for from now on."""
        if not self._is_over:
            self._timeout.reschedule(asyncio.get_running_loop().time() + self._seconds)

    def pause(self) -> None:
        """The client has done its part."""
        if not self._is_over:
            self._timeout.reschedule(None)

    def end(self) -> None:
        """Wait for nothing any more."""
        self._is_over = True
        if not self._timeout.expired():
            self._timeout.reschedule(0)


class _Stream:
    """One stream: what it reads from and writes to."""

    def __init__(
        self,
        request: web.Request,
        response: web.StreamResponse,
        bulk: Bulk,
        turns: Turns,
        readers: Readers,
        config: Config,
    ) -> None:
        self._request = request
        self._response = response
        self._bulk = bulk
        self._turns = turns
        self._readers = readers
        self._config = config
        self._writing = False

    async def answer(self, patience: _Patience) -> None:
        """Answer until the request ends."""
        config = self._config
        patience.begin()
        receive = self._request.content.readany
        async with aclosing(blocks_of_lines(receive, config.max_line)) as blocks:
            async for block in blocks:
                patience.pause()
                if block is None:
                    items: Sequence[Item] = [questions.too_long(config.max_line)]
                else:
                    items = await reading.read_lines(block, self._turns)
                async with aclosing(self._bulk.answer(items)) as answers:
                    async for encoded in answers:
                        patience.begin()
                        await self._write(encoded)
                        patience.pause()
                patience.begin()

    async def _write(self, block: bytes) -> None:
        self._writing = True
        await self._response.write(block)
        self._writing = False

    async def end(self, reason: str = "") -> None:
        """Write the summary, incomplete when there is a reason; may raise ConnectionResetError.

        A client that did not take in the last block is cut off instead: aiohttp cannot write
        any more after a wait for it was cancelled.
        """
        if self._writing:
            self._abort()
            return
        last = b'{"summary":%b,"complete":%b%b}\n' % (
            self._bulk.summary(),
            b"false" if reason else b"true",
            b',"reason":"%b"' % reason.encode() if reason else b"",
        )
        if reason:
            self._response.force_close()
        try:
            async with asyncio.timeout(LAST_WRITE_SECONDS):
                await self._response.write(last)
                await self._response.write_eof()
                # Else the end of the connection would take the summary with it.
                await self._readers.rest_passed(self._request)
        except RequestPayloadError as error:
            drop_frames(error)
        except TimeoutError:
            self._abort()

    def _abort(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()
