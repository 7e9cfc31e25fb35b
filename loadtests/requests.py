"""Requests as they go over the wire, made of questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec

from loadtests.questions import Question
from loadtests.scenario import PATHS, Endpoint, Traffic

# Each body that is no single JSON object is lines of JSON.
_LINES: frozenset[Endpoint] = frozenset({"stream", "change", "feed"})


class Request(msgspec.Struct, frozen=True):
    """A request of a class: its bytes, and the questions (or lines) in it, in order."""

    traffic: Traffic
    data: bytes
    questions: Sequence[Question]

    @property
    def body(self) -> bytes:
        """What follows the head."""
        return self.data.partition(b"\r\n\r\n")[2]

    @property
    def media(self) -> str:
        """The body's content type."""
        return _media(self.traffic.endpoint)


def bearing(key: str | None) -> str:
    """The line of headers that carries a key, with its line end; empty without one."""
    return "" if key is None else f"Authorization: Bearer {key}\r\n"


def fields_of(lines: str) -> dict[str, str]:
    """Lines of headers by their names."""
    return dict(line.split(": ", 1) for line in lines.splitlines())


class Caller(msgspec.Struct, frozen=True):
    """Who asks: the Host header, and further lines of headers, each with its line end."""

    host: str
    headers: str = ""

    def request(self, traffic: Traffic, questions: Sequence[Question]) -> Request:
        """A request of a class with these questions, as many as it has items."""
        bodies = [question.body for question in questions]
        endpoint = traffic.endpoint
        if endpoint in _LINES:
            body = b"".join(line + b"\n" for line in bodies)
        elif endpoint == "batch":
            body = b'{"invoices":[%b]}' % b",".join(bodies)
        else:
            (body,) = bodies
        head = (
            f"POST {PATHS[endpoint]} HTTP/1.1\r\nHost: {self.host}\r\n"
            f"Content-Type: {_media(endpoint)}\r\n{self.headers}Content-Length: {len(body)}\r\n\r\n"
        )
        return Request(traffic, head.encode() + body, questions)

    def requests(self, traffic: Traffic, source: Iterator[Question], count: int) -> list[Request]:
        """So many requests of a class, each with the next of the questions."""
        return [self.request(traffic, tuple(islice(source, traffic.items))) for _ in range(count)]


def _media(endpoint: Endpoint) -> str:
    return "application/x-ndjson" if endpoint in _LINES else "application/json"
