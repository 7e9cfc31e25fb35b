"""Answers as bytes: read strictly, and held against the OpenAPI document of the service."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jsonschema_rs
import msgspec

from tests.fuzz.inputs import Asked
from tests.fuzz.line import Ended, Line
from verifier.wire.problems import CONTENT_TYPE as PROBLEM
from verifier.wire.problems import PROBLEMS

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d) [ -~]*")
_FIELD = re.compile(rb"([A-Za-z-]+): ([ -~]*)")
_SIZE = re.compile(rb"([0-9a-f]+)")

# All that the service sends; anything else was put there by a request.
_KNOWN = frozenset(
    {"allow", "connection", "content-length", "content-type", "date", "retry-after", "server"}
    | {"server-timing", "transfer-encoding"}
)

# Why a question could not be checked, as far as this may happen without a fault.
HONEST = frozenset({"conflict", "overloaded", "timeout", "unchecked"})


class Wrong(Exception):
    """An answer that no client could expect; says what is wrong with it."""


class Answer(NamedTuple):
    """One response; ``closes`` if it says that the connection ends with it."""

    status: int
    media: str
    fields: Mapping[str, str]
    body: bytes
    closes: bool


async def read(line: Line, *, head_only: bool = False) -> Answer | None:
    """The next response, None at the end of the connection. Raises Wrong for no HTTP.

    ``head_only`` is for the answer to HEAD.
    """
    try:
        while head := await line.until(b"\r\n\r\n"):
            answer = _head(head)
            if answer.status >= 200:
                without = head_only or answer.status in (204, 304)
                return answer if without else answer._replace(body=await _body(line, answer))
    except Ended:
        raise Wrong("the connection ended within an answer") from None
    return None


def _head(head: bytes) -> Answer:
    first, *lines = head[:-4].split(b"\r\n")
    status = _STATUS.fullmatch(first)
    if status is None:
        raise Wrong(f"no status line: {first[:200]!r}")
    fields: dict[str, str] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise Wrong(f"no field: {line[:200]!r}")
        name = field[1].decode().lower()
        if name in fields or name not in _KNOWN:
            raise Wrong(f"a field too many: {line[:200]!r}")
        fields[name] = field[2].decode()
    connection = fields.get("connection", "").lower()
    closes = connection == "close" or (status[1] == b"0" and connection != "keep-alive")
    media = fields.get("content-type", "").partition(";")[0]
    return Answer(int(status[2]), media, fields, b"", closes)


async def _body(line: Line, answer: Answer) -> bytes:
    length, coding = answer.fields.get("content-length"), answer.fields.get("transfer-encoding")
    if (length is None) == (coding is None):
        if length is None and answer.closes:
            return await line.rest()
        raise Wrong(f"neither one length nor one coding: {answer.fields}")
    if length is not None:
        return await line.exactly(int(length))
    blocks: list[bytes] = []
    while True:
        said = await line.until(b"\r\n")
        size = _SIZE.fullmatch(said[:-2])
        if size is None:
            raise Wrong(f"no chunk size: {said[:200]!r}")
        block = await line.exactly(int(size[1], 16) + 2)
        if block[-2:] != b"\r\n":
            raise Wrong("a chunk of another size than it says")
        if len(block) == 2:
            return b"".join(blocks)
        blocks.append(block[:-2])


_FEEDS = ("/v1/ledger/invoices", "/v1/ledger/status")

# Whether a decoded body is of the shape that the document gives it.
Shape = Callable[[Any], bool]


class Documented:
    """What a service may answer, by its OpenAPI document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._shapes: dict[tuple[str, str], dict[tuple[int, str], Shape]] = {}
        everything: dict[tuple[int, str], list[Any]] = {}
        components = document["components"]
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                shapes = self._shapes[method.upper(), path] = {}
                for status, response in operation["responses"].items():
                    for media, content in response["content"].items():
                        key = int(status), media
                        shapes[key] = _shape([content["schema"]], components)
                        everything.setdefault(key, []).append(content["schema"])
        # For who does not know what was asked.
        self._any = {key: _shape(each, components) for key, each in everything.items()}
        problem = _shape([{"$ref": "#/components/schemas/Problem"}], components)
        # What is not there has no place in the document.
        self._elsewhere = {
            (status, PROBLEM): problem for status in (400, 403, 404, 405, 408, 415, 417, 431, 503)
        }

    def check(self, asked: Asked | None, answer: Answer) -> None:
        """Raises Wrong when that is no answer to what was asked; None if nobody knows what."""
        if asked is None:
            # A change may have led to another address, or to another method.
            shapes = self._any | self._elsewhere
        elif not asked.path:
            shapes = self._elsewhere
        else:
            shapes = self._shapes["GET" if asked.method == "HEAD" else asked.method, asked.path]
        shape = shapes.get((answer.status, answer.media))
        if shape is None:
            raise Wrong(f"{answer.status} {answer.media!r} is not documented")
        if asked is not None and asked.method == "HEAD":
            return
        values = list(_decoded(answer))
        for value in values:
            if not shape(value):
                raise Wrong(f"not of its documented shape: {msgspec.json.encode(value)[:300]!r}")
        if answer.media == PROBLEM:
            _check_problem(answer, values[0])
        elif answer.status == 200 and asked is not None:
            _check_results(asked, values)


def _shape(schemas: list[Any], components: Any) -> Shape:
    validator = jsonschema_rs.Draft202012Validator(
        {"anyOf": schemas, "components": components}, validate_formats=True
    )
    return validator.is_valid


def _decoded(answer: Answer) -> Iterable[Any]:
    if answer.media == "text/plain":
        yield answer.body.decode()
        return
    several = answer.media.endswith("ndjson")
    lines = answer.body.removesuffix(b"\n").split(b"\n") if several else [answer.body]
    try:
        yield from map(msgspec.json.decode, lines)
    except msgspec.DecodeError as error:
        raise Wrong(f"no JSON ({error}): {answer.body[:300]!r}") from error


def _check_problem(answer: Answer, said: Any) -> None:
    code = said["code"]
    if PROBLEMS[code][0] != answer.status or said["status"] != answer.status:
        raise Wrong(f"the code {code} with the status {answer.status}")
    if answer.status >= 500 and (
        code != "unavailable"
        or said["reason"] not in HONEST
        or answer.fields.get("retry-after") != str(said["retry_after"])
    ):
        raise Wrong(f"{answer.status} that is no honest `unavailable`: {said}")


def _check_results(asked: Asked, values: list[Any]) -> None:
    """Exactly one result for each item, in order, and a summary that counts them."""
    last = values[-1]
    if asked.path == "/v1/verify/batch":
        results, summary = last["results"], last["summary"]
    elif asked.path == "/v1/verify/stream":
        results, summary = values[:-1], last.get("summary")
        if summary is None or last["complete"] is not True:
            raise Wrong(f"a stream that ends with {last}")
    else:
        if asked.path in _FEEDS:
            _check_count(asked, last["accepted"] + last["unchanged"] + last["rejected_count"])
        return
    _check_count(asked, len(results))
    if [each["index"] for each in results] != list(range(len(results))):
        raise Wrong("results out of order")
    verdicts: dict[str, int] = {}
    for each in results:
        verdicts[each["verdict"]] = verdicts.get(each["verdict"], 0) + 1
        if each.get("reason", "overloaded") not in HONEST:
            raise Wrong(f"a result that is no honest `unavailable`: {each}")
    if verdicts != {name: n for name, n in summary.items() if name != "matches" and n}:
        raise Wrong(f"a summary that does not count its results: {summary}")


def _check_count(asked: Asked, count: int) -> None:
    if asked.items is not None and asked.items != count:
        raise Wrong(f"{count} results for {asked.items} items")
