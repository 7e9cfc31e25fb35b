"""What the server itself refuses, and what fails: a problem document, a log line and a count.

The problem and its log line share an ``id``. A line tells the type of an error and the places it
passed, never its text: a parser's error quotes the request, and requests hold tax ids.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus
from secrets import token_hex
from typing import Any

import structlog
from aiohttp import http_exceptions, web
from aiohttp.web_protocol import RequestPayloadError

from verifier.api.server import problems
from verifier.errors import Unavailable
from verifier.tracebacks import frames
from verifier.wire.problems import CONTENT_TYPE, PROBLEMS, document

log = structlog.get_logger()

ROUTE = "server"

_DETAILS: tuple[tuple[type[BaseException], str], ...] = (
    (http_exceptions.LineTooLong, "the request line or a header field is too long"),
    (http_exceptions.BadHttpMethod, "the method is not one of HTTP"),
    (http_exceptions.BadStatusLine, "the request line is malformed"),
    (http_exceptions.InvalidURLError, "the address is malformed"),
    (http_exceptions.PayloadEncodingError, "the body is not framed as its head says"),
    (RequestPayloadError, "the body is not framed as its head says"),
    (http_exceptions.HttpProcessingError, "the head of the request is malformed"),
)

# aiohttp has no class of its own for it.
_TOO_MANY_FIELDS = "Too many headers received"

# Codes of connections for which there is no room.
_NO_ROOM = ("too_many_connections", "too_many_of_address")

# What asyncio says of a callback shows its arguments, which may be bytes of a request.
_SHOWN_OBJECT = re.compile(r"\s*[(<]")


class Lines:
    """At most so many lines a second; ``clock`` gives seconds."""

    def __init__(self, per_second: int, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._clock = clock
        self._second = clock()
        self._written = 0
        self._suppressed = 0

    def admit(self) -> int | None:
        """How many lines were left out since the last one, or None to leave out this one too."""
        now = self._clock()
        if now - self._second >= 1.0:
            self._second, self._written = now, 0
        if self._written >= self._per_second:
            self._suppressed += 1
            return None
        self._written += 1
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed


class Refusals:
    """Answers, logs and counts; ``count`` takes a route and a code."""

    def __init__(self, count: Callable[[str, str], None], lines: Lines) -> None:
        self._count = count
        self._lines = lines

    def count(self, code: str) -> None:
        """Count a refusal that gets neither an answer nor a log line."""
        self._count(ROUTE, code)

    def of_error(self, request: web.BaseRequest, error: BaseException) -> web.Response:
        """The answer to a request that cannot be read (400, 431) or whose handler failed (500)."""
        code, detail = _sorted_out(error)
        members = {"id": self.note(error)}
        return problems.response(request, code, detail, members=members)

    def of_http(self, request: web.BaseRequest, error: web.HTTPException) -> web.Response:
        """The answer to a request that aiohttp's router or its Expect refuses."""
        ident = token_hex(8)
        response = problems.of_http(request, error, {"id": ident})
        self._write("request refused", problems.http_code(error), ident, error)
        return response

    def unread(self, code: str) -> bytes:
        """The bytes of a response to a connection from which no request was read."""
        ident = token_hex(8)
        self._write("connection refused", code, ident)
        if code in _NO_ROOM:
            busy = Unavailable("overloaded")
            members = {"reason": busy.reason, "retry_after": busy.retry_after, "id": ident}
            retry = f"Retry-After: {busy.retry_after}\r\n"
            body = document("unavailable", "zh", busy.reason, members)
            status = HTTPStatus.SERVICE_UNAVAILABLE
        else:
            retry = ""
            body = document(code, "zh", "the head did not arrive in time", {"id": ident})
            status = HTTPStatus(PROBLEMS[code][0])
        return (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {CONTENT_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\n{retry}Connection: close\r\n\r\n"
        ).encode() + body

    def note(self, error: BaseException | None) -> str:
        """Log and count an error; its id."""
        ident = token_hex(8)
        code = "internal" if error is None else _sorted_out(error)[0]
        event = "request failed" if code == "internal" else "request refused"
        self._write(event, code, ident, error)
        return ident

    def of_loop(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What the event loop reports: an exception that nobody awaited, or a callback's."""
        # uvloop may give an exception without a message.
        said = _SHOWN_OBJECT.split(context.get("message", "unhandled exception"))[0]
        self._write(said, "internal", token_hex(8), context.get("exception"))

    def _write(self, event: str, code: str, ident: str, error: BaseException | None = None) -> None:
        self._count(ROUTE, code)
        suppressed = self._lines.admit()
        if suppressed is None:
            return
        facts: dict[str, Any] = {"code": code, "id": ident}
        if suppressed:
            facts["suppressed"] = suppressed
        if error is not None:
            facts["error"] = type(error).__qualname__
        if code == "internal":
            log.error(event, **facts, frames=[] if error is None else frames(error))
        else:
            log.warning(event, **facts)


def _sorted_out(error: BaseException) -> tuple[str, str]:
    """Code and detail: whether the request is at fault, or we are."""
    if getattr(error, "message", "") == _TOO_MANY_FIELDS:
        return "header_too_large", "the head has too many fields"
    for kind, detail in _DETAILS:
        if isinstance(error, kind):
            too_long = kind is http_exceptions.LineTooLong
            return "header_too_large" if too_long else "bad_request", detail
    return "internal", "a fault of the service; its log has the id of this answer"
