"""The response that most requests get: status, headers and body in one write.

aiohttp's Response makes a multi-dict of headers, fills in half a dozen and serialises them anew
for each answer, which costs more than the answer itself (bench/test_respond.py). Here the head is
bytes that change once a second, with the date. It goes through the two methods by which aiohttp
sends any response, so keep-alive, back-pressure and shutdown are aiohttp's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import SERVER_SOFTWARE

from verifier.access.callers import Caller
from verifier.api.server import problems
from verifier.api.server.readers import Done, Readers, transport_of
from verifier.errors import BadRequest
from verifier.pacing import Turns
from verifier.wire.messages import Language
from verifier.wire.problems import CONTENT_TYPE, PROBLEMS, unavailable

JSON = {"Content-Type": "application/json"}


class _Ready(web.StreamResponse):
    """A single answer, whose bytes are complete."""

    # A class attribute: StreamResponse would compute it.
    status = 200

    def __init__(self, data: bytes, readers: Readers) -> None:
        # Not StreamResponse's: it makes the objects that this class does without. What the
        # server asks of a response is prepare, write_eof and keep_alive.
        self._keep_alive = True
        self._data = data
        self._readers = readers

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Write all of it."""
        self._request = request
        writer = request.writer
        await writer.write(self._data)
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Wait while the client is slow to take it."""
        request = self._request
        await request.writer.write_eof(data)
        if request.protocol.writing_paused:
            await self._readers.taken(request, "verify")


class Responder:
    """Makes responses; ``clock`` gives seconds since the epoch, for the Date header.

    An answer in parts is written ``group`` bytes at a time, in turns: handing bytes to the kernel
    takes longer than making them.
    """

    def __init__(
        self, clock: Callable[[], float], readers: Readers, turns: Turns, group: int
    ) -> None:
        self._clock = clock
        self._readers = readers
        self._turns = turns
        self._group = group
        self._second = 0
        self._head = b""
        # Refusals of this second, by language and seconds to come again after.
        self._refusals: dict[tuple[Language, int], bytes] = {}

    def json(
        self,
        request: web.BaseRequest,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        caller: Caller | None = None,
    ) -> web.StreamResponse:
        """A 200 with the answer to a caller's single question; ``headers`` go with it."""
        if headers or request.version != HttpVersion11 or not request.keep_alive:
            fields = {} if caller is None else caller.fields()
            return web.Response(body=body, headers={**JSON, **fields, **(headers or {})})
        return _Ready(self.answer(body, caller), self._readers)

    def answer(self, body: bytes, caller: Caller | None) -> bytes:
        """The bytes of such a response, on a connection that stays open."""
        if caller is not None:
            head = self._head_now()
            lines = caller.lines(self._second)
            return b"%b%d\r\n%b\r\n%b" % (head, len(body), lines, body)
        return b"%b%d\r\n\r\n%b" % (self._head_now(), len(body), body)

    def problem(
        self,
        code: str,
        body: bytes,
        *,
        retry_after: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """The bytes of a response with a problem document, as aiohttp writes them (problems.py)."""
        status = HTTPStatus(PROBLEMS[code][0])
        date = formatdate(int(self._clock()), usegmt=True)
        sent = dict(headers or {}) | ({"Retry-After": str(retry_after)} if retry_after else {})
        more = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        return (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {CONTENT_TYPE}\r\n{more}"
            f"Content-Length: {len(body)}\r\nDate: {date}\r\n"
            f"Server: {SERVER_SOFTWARE}\r\n\r\n"
        ).encode() + body

    def second(self) -> int:
        """The second of the Date header now."""
        return int(self._clock())

    def refusal(self, error: BadRequest, language: Language) -> bytes:
        """The bytes of a response to a request that cannot be answered."""
        body = problems.of_request(error, language)
        return self.problem(error.code, body, headers=error.headers)

    def overloaded(self, language: Language, retry_after: int) -> bytes:
        """The bytes of a refusal for want of time, which are made once a second."""
        self._head_now()
        known = self._refusals.get((language, retry_after))
        if known is None:
            body = unavailable(language, "overloaded", retry_after)
            known = self.problem("unavailable", body, retry_after=retry_after)
            self._refusals[language, retry_after] = known
        return known

    async def parts(
        self, request: web.BaseRequest, route: str, parts: list[bytes], caller: Caller | None
    ) -> web.StreamResponse:
        """Write a 200 with a JSON body in parts to a caller; the list is emptied.

        Each group is one system call, made when the client has read the one before. Raises
        SlowReader when it does not read in time, and ConnectionError when it is gone.
        """
        keep_alive = request.version == HttpVersion11 and request.keep_alive is True
        ending = b"\r\n"
        if caller is not None:
            ending += caller.lines(int(self._clock()))
        ending += b"\r\n" if keep_alive else b"Connection: close\r\n\r\n"
        await request.writer.write(b"%b%d%b" % (self._head_now(), sum(map(len, parts)), ending))
        parts.reverse()
        while parts:
            group = [parts.pop()]
            room = self._group - len(group[0])
            while parts and (room := room - len(parts[-1])) >= 0:
                group.append(parts.pop())
            await self._readers.taken(request, route)
            await self._turns.next()
            transport_of(request).writelines(group)
        await request.writer.write_eof()
        # Down to the last byte: a draining service would lose what is still in the buffer.
        transport_of(request).set_write_buffer_limits(0)
        await self._readers.taken(request, route)
        transport_of(request).set_write_buffer_limits()
        return Done(keep_alive=keep_alive)

    def _head_now(self) -> bytes:
        """The head, up to the value of Content-Length."""
        now = int(self._clock())
        if now != self._second:
            self._second = now
            self._refusals.clear()
            self._head = (
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                f"Date: {formatdate(now, usegmt=True)}\r\nContent-Length: "
            ).encode()
        return self._head
