"""``POST /v1/verify/stream``: questions in, answers out, both at once, memory bounded.

What is held is one block of lines and its answers: the next block is read only when the answers
are written, so a client that reads slowly slows down its own sending and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack, aclosing

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from verifier.access.limits import Over
from verifier.api.server.body import refuse_compressed, some_of
from verifier.api.server.guard import caller_of
from verifier.api.server.route import Route
from verifier.api.server.shapes import (
    LANGUAGE,
    NDJSON,
    OVERLOADED,
    UNREADABLE,
    Content,
    Operation,
    problem,
)
from verifier.api.server.slots import Slots
from verifier.api.verify.bulk import Bulk, Counts, Resources
from verifier.api.verify.parameters import TOKEN
from verifier.errors import Unavailable
from verifier.invoice.claim import Item, Question
from verifier.tracebacks import drop_frames
from verifier.wire import schemas
from verifier.wire.batches import read_lines
from verifier.wire.ndjson import blocks_of_lines
from verifier.wire.questions import too_long

_HEADERS = {"Content-Type": NDJSON}


class Streams:
    """Serves streams and ends them honestly: only a whole one says ``"complete": true``."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._counts = Counts(resources.metrics, resources.usage, resources.noticing, "stream")
        self._slots = Slots("stream", resources.requests.max_streams, resources.metrics)
        self._waiting: set[_Patience] = set()
        self._draining = False

    def route(self) -> Route:
        """The route of these requests."""
        return Route(
            "POST",
            "/v1/verify/stream",
            "stream",
            self.stream,
            OPERATION,
            scope="verify",
            cost="items",
        )

    def drain(self) -> None:
        """End every stream at its next wait, with an incomplete summary."""
        self._draining = True
        for patience in self._waiting:
            patience.end()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Answers in the order of the lines, while the request is still being sent."""
        if self._draining:
            raise Unavailable("closing")
        refuse_compressed(request)
        at_least = self._resources.at_least(request)
        with ExitStack() as stack:
            with self._counts.offered.unless_refused(request):
                self._resources.admission.check_bulk()
                stack.enter_context(self._slots.take())
            caller = caller_of(request)
            fields = {} if caller is None else caller.fields()
            response = web.StreamResponse(headers={**_HEADERS, **fields})
            await response.prepare(request)
            encode = self._resources.encoder.encode_lines
            bulk = self._resources.bulk(self._counts, request, at_least=at_least, encode=encode)
            stream = _Stream(request, response, bulk, self._resources)
            ended = await self._answer(stream)
            if ended:
                self._resources.metrics.http_errors.add("stream", ended)
            await stream.end(ended)
            return response

    async def _answer(self, stream: _Stream) -> str:
        """Answer until the request ends; why it did not end as a whole, or nothing."""
        try:
            async with asyncio.timeout(None) as timeout:
                patience = _Patience(timeout, self._resources.requests.idle_timeout)
                self._waiting.add(patience)
                if self._draining:
                    patience.end()
                try:
                    await stream.answer(patience)
                finally:
                    self._waiting.discard(patience)
        except _Revoked:
            return "revoked_key"
        except TimeoutError:
            return "closing" if self._draining else "idle_timeout"
        except RequestPayloadError as error:
            drop_frames(error)
            return "broken_body"
        return ""


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


# Seconds after which a stream that waits for its limit looks at that, and at its key, again.
_LOOK = 1.0


class _Revoked(Exception):
    """The key of a stream under way does not hold any more."""


class _Stream:
    """One stream: what it reads from and writes to."""

    def __init__(
        self, request: web.Request, response: web.StreamResponse, bulk: Bulk, resources: Resources
    ) -> None:
        self._request = request
        self._response = response
        self._bulk = bulk
        self._resources = resources
        self._writing = False

    async def answer(self, patience: _Patience) -> None:
        """Answer until the request ends."""
        max_line, turns = self._resources.requests.max_line, self._resources.turns
        patience.begin()
        content = self._request.content

        async def receive() -> bytes:
            block = await some_of(content)
            # A line may take long to come, as long as some of it does.
            patience.begin()
            return block

        async with aclosing(blocks_of_lines(receive, max_line)) as blocks:
            async for block in blocks:
                patience.pause()
                if block is None:
                    items: Sequence[Item] = [too_long(max_line)]
                else:
                    items = await read_lines(block, turns)
                await self._paid(len(items))
                async with aclosing(self._bulk.answer(items)) as answers:
                    async for encoded in answers:
                        await self._bulk.settle()
                        patience.begin()
                        await self._write(encoded)
                        patience.pause()
                patience.begin()

    async def _paid(self, questions: int) -> None:
        """Return when the limits admit so many: a stream is never refused in the middle."""
        caller = caller_of(self._request)
        over: Over | None = Over("key", 0.0)
        while caller is not None and over is not None:
            if not caller.may("verify"):
                raise _Revoked
            over = caller.take(questions)
            if over is not None:
                # Time lets them in, or another limit; meanwhile its client waits to send more.
                await asyncio.sleep(min(over.seconds, _LOOK))

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
            async with asyncio.timeout(self._resources.answers.last_write):
                await self._response.write(last)
                await self._response.write_eof()
                # Else the end of the connection would take the summary with it.
                await self._resources.readers.rest_passed(self._request)
        except RequestPayloadError as error:
            drop_frames(error)
        except TimeoutError:
            self._abort()

    def _abort(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()


OPERATION = Operation(
    "Ask about any number of invoices, a line each",
    parameters=(TOKEN, LANGUAGE),
    body=Content(Question, media=NDJSON),
    responses={
        200: Content(
            (schemas.Result, schemas.StreamEnd),
            "A result per line, in order, then the summary.",
            NDJSON,
        ),
        400: problem("The consistency token is not one of ours."),
        415: UNREADABLE[415],
        **OVERLOADED,
    },
)
