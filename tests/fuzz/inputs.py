"""Inputs: what a client sends at once on a connection, made from a seed and a number alone.

Most inputs are one request that is framed well, whatever it holds: the connection must go on behind
it. The others are streams of bytes that may mean anything, after which the client half-closes.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import NamedTuple

from tests.api.smuggling import CORPUS
from tests.fuzz import mutate, samples
from verifier.invoice.codes import REGIONS

# The service's bounds while it is fuzzed: small, so that inputs beyond them are cheap.
MAX_BODY = 8_192
MAX_LINE = 4_096
MAX_ITEMS = 64
MAX_BATCH_BODY = 131_072
SETTINGS: dict[str, object] = {
    "max_body": MAX_BODY,
    "max_line": MAX_LINE,
    "max_batch_items": MAX_ITEMS,
    "max_batch_body": MAX_BATCH_BODY,
}


class Asked(NamedTuple):
    """What a request asks for, and what is known of its answer.

    ``path`` is that of the OpenAPI document, empty for an address that it lacks. ``items`` is how
    many results a stream, feed or batch must have when it is answered, None if nobody knows.
    """

    method: str
    path: str
    items: int | None = None


class Input(NamedTuple):
    """What is sent, in ``pieces``; ``asked`` is None for bytes that may be read in many ways.

    ``leaves`` is for a client that goes without reading.
    """

    number: int
    sort: str
    pieces: list[bytes]
    asked: list[Asked] | None
    leaves: bool = False


class Request(NamedTuple):
    """A request as it is sent."""

    asked: Asked
    sent: bytes


NDJSON = b"Content-Type: application/x-ndjson"
JSON = b"Content-Type: application/json"

# Fields that change what is answered, and fields that must not change anything.
_FIELDS = (
    b"Accept-Language: en",
    b"accept-language: zh-CN,zh;q=0.9,\xff;q=\xfe",
    b"Accept-Language: " + b"en," * 500,
    b"Request-Timeout: 1000",
    b"Request-Timeout: 0",
    b"Request-Timeout: 1e3",
    b"Request-Timeout: \xd9\xa3",
    b"Request-Timeout: \xff",
    b"Request-Timeout: " + b"9" * 40,
    b"Consistency-Token: Zq7kanarie",
    b"Consistency-Token: \xff\xfe",
    b"Consistency-Token: " + b"A" * 400,
    b"Consistency-Token:",
    b"Server-Timing: 1",
    b"Server-Timing: \xff",
    b"Content-Encoding: gzip",
    b"Content-Encoding: identity",
    b"Content-Encoding: \xff",
    b"Content-Type: text/html; charset=\xff",
    b"Content-Type: \xff",
    b"Content-Type: application/json; charset=utf-16",
    b"Origin: null",
    b"Origin: http://x",
    b"Sec-Fetch-Site: cross-site",
    b"Sec-Fetch-Site: \xff",
    b"Expect: 100-continue",
    b"Expect: more",
    b"Connection: keep-alive",
    b"Connection: close",
    b"Cookie: Zq7kanarie=\xff",
    b"X-Odd: \x80\xff",
    b"X-Forwarded-For: 127.0.0.1",
    b"Forwarded: for=unknown",
    b"Range: bytes=0-",
    b"If-None-Match: *",
    b"Accept: nothing/else",
    b"Accept-Encoding: gzip, br",
)


def framed(
    random: Random, method: str, target: bytes, body: bytes, fields: list[bytes], *, chunked: bool
) -> bytes:
    """A request that says rightly how long its body is."""
    head = [b"%b %b HTTP/1.1" % (method.encode(), target), b"Host: x", *fields]
    if not chunked:
        head.append(b"Content-Length: %d" % len(body))
        return b"\r\n".join([*head, b"", b""]) + body
    head.append(b"Transfer-Encoding: chunked")
    cuts = sorted(random.randint(0, len(body)) for _ in range(random.randint(0, 4)))
    pieces = [body[start:end] for start, end in pairwise([0, *cuts, len(body)]) if start < end]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return b"\r\n".join([*head, b"", b""]) + chunks + b"0\r\n\r\n"


def _request(
    random: Random, asked: Asked, target: bytes, body: bytes, media: bytes = JSON
) -> Request:
    fields = [media] if random.random() < 0.9 else []
    if random.random() < 0.25:
        fields = random.choices(_FIELDS, k=random.choice((1, 1, 2, 4))) + fields
    # The first of a name: some make a head unreadable when they come twice.
    once = {field.partition(b":")[0].lower(): field for field in reversed(fields)}
    chunked = random.random() < 0.2
    sent = framed(random, asked.method, target, body, [*once.values()], chunked=chunked)
    return Request(asked, sent)


def single(random: Random) -> Request:
    """A single question."""
    body = mutate.item(random, samples.question)
    if random.random() < 0.01:
        body += b" " * MAX_BODY
    return _request(random, Asked("POST", "/v1/verify"), b"/v1/verify", body)


def batch(random: Random) -> Request:
    """A batch: of odd items, of too many, or odd as a whole."""
    count = random.choice((0, 1, 2, 5, 20, MAX_ITEMS, MAX_ITEMS + 1))
    kind = random.random()
    items: int | None = None
    if kind < 0.4:
        items, given = count, [mutate.jsonic(samples.question(random)) for _ in range(count)]
    else:
        given = [mutate.item(random, samples.question) for _ in range(count)]
    body = b'{"invoices":[%b]}' % b",".join(given)
    if kind > 0.9:
        items, body = None, mutate.bytes_of(random, body)
    if random.random() < 0.004:
        body += b" " * MAX_BATCH_BODY
    return _request(random, Asked("POST", "/v1/verify/batch", items), b"/v1/verify/batch", body)


def _lines(random: Random, make: Callable[[Random], samples.Members]) -> bytes:
    count = random.choice((0, 1, 1, 3, 10, 30))
    end = random.choice((b"\n", b"\n", b"\r\n", b"\n\n"))
    body = end.join(mutate.item(random, make) for _ in range(count))
    if random.random() < 0.02:
        body += end + mutate.jsonic([("number", samples.text("7" * MAX_LINE))])
    return body + random.choice((b"", end))


def results_of(body: bytes) -> int:
    """How many results the lines of a stream or feed have: one each, but for blank ones."""
    return sum(1 for line in body.split(b"\n") if line.strip() or len(line) > MAX_LINE)


def stream(random: Random) -> Request:
    """A stream of odd lines."""
    body = _lines(random, samples.question)
    asked = Asked("POST", "/v1/verify/stream", results_of(body))
    return _request(random, asked, b"/v1/verify/stream", body, NDJSON)


def feed(random: Random) -> Request:
    """A feed of odd lines."""
    body = _lines(random, samples.line)
    asked = Asked("POST", "/v1/ledger/invoices", results_of(body))
    return _request(random, asked, b"/v1/ledger/invoices", body, NDJSON)


def status(random: Random) -> Request:
    """A feed of odd changes of status."""
    body = _lines(random, samples.status)
    asked = Asked("POST", "/v1/ledger/status", results_of(body))
    return _request(random, asked, b"/v1/ledger/status", body, NDJSON)


_MOMENTS = (
    b'"2024-11-23T16:00:00Z"', b'"2024-11-23T16:00:00+08:00"', b'"2024-11-23T16:00:00"',
    b'"0001-01-01T00:00:00+23:59"', b'"9999-12-31T23:59:59-23:59"', b'"1999-12-31T23:59:59Z"',
    b'"2024-02-30T00:00:00Z"', b'"2016-12-31T23:59:60Z"', b'"2024-11-23T16:00:00.123456789Z"',
    b'"2024-11-23 16:00:00z"', b'"2024-11-23T24:00:00Z"', b"1700000000", b"null",
)  # fmt: skip


def watermark(random: Random) -> Request:
    """A watermark that is odd, or of a region that is."""
    region = random.choice(sorted(REGIONS)).encode()
    if random.random() < 0.1:
        region = random.choice(
            (b"0000", b"99999", b"%31%31%30%30", b"%ff", b"..", b"1100%2f", b"a")
        )

    def given(random: Random) -> samples.Members:
        return [("complete_until", random.choice(_MOMENTS))]

    body = mutate.item(random, given)
    path = "/v1/ledger/regions/{region}/watermark"
    target = b"/v1/ledger/regions/%b/watermark" % region
    # Some of these names lead elsewhere, where none is documented.
    asked = Asked("PUT", path if b"." not in region else "")
    return _request(random, asked, target, body)


_PLACES = ("/v1/freshness", "/livez", "/readyz", "/startupz", "/metrics", "/openapi.json")
_NOWHERE = (
    b"/", b"/v1", b"/v1/verify/", b"/v1/verify/x", b"/Zq7kanarie", b"/%ff", b"/%00", b"/%0d%0aX:y",
    b"/\xff", b"/v1/verify%2fbatch", b"/v1/ledger", b"/\xe5\x8f\x91", b"/" + b"a" * 3_000, b"/..",
    b"/%F0%9F%98%80?q=%ff", b"/v1/ledger/regions/1100", b"/%ED%A0%80", b"/'\"<script>",
)  # fmt: skip
_METHODS = ("GET", "HEAD", "OPTIONS", "DELETE", "PATCH", "TRACE", "POST", "PUT", "PURGE")


def elsewhere(random: Random) -> Request:
    """A request without a body: for what the service tells of itself, or for what is not there."""
    if random.random() < 0.4:
        path = random.choice(_PLACES)
        method = random.choice(("GET", "HEAD"))
        return _request(random, Asked(method, path), path.encode(), b"")
    target, method = random.choice(_NOWHERE), random.choice(_METHODS)
    if random.random() < 0.3:
        target, method = b"/v1/verify", random.choice(("GET", "HEAD", "PUT", "DELETE"))
    return _request(random, Asked(method, ""), target, b"")


def well_framed(random: Random) -> Request:
    """A request of any sort."""
    made = random.choices((single, batch, stream, feed, status, watermark, elsewhere), _SHARES)[0]
    return made(random)


_SHARES = (45, 15, 15, 5, 4, 4, 12)


def _cut(random: Random, data: bytes) -> list[bytes]:
    cuts = sorted(random.randint(0, len(data)) for _ in range(random.choice((0, 0, 0, 1, 3))))
    return [data[start:end] for start, end in pairwise([0, *cuts, len(data)]) if start < end]


def make(seed: int, number: int) -> Input:
    """The input of a number."""
    random = Random(f"{seed}:{number}")
    kind = random.random()
    if kind < 0.77:
        request = well_framed(random)
        return Input(number, "request", _cut(random, request.sent), [request.asked])
    if kind < 0.85:
        several = [well_framed(random) for _ in range(random.randint(2, 5))]
        data = b"".join(each.sent for each in several)
        return Input(number, "pipelined", _cut(random, data), [each.asked for each in several])
    if random.random() < 0.1:
        data = random.choice(list(CORPUS.values()))
    else:
        data = b"".join(well_framed(random).sent for _ in range(random.choice((1, 1, 1, 2, 3))))
        # Who does not know which answer is HEAD's cannot tell where it ends.
        data = data.replace(b"HEAD ", b"GET ")
    if kind < 0.88:
        # Gone in the middle.
        return Input(number, "left", [data[: random.randint(0, len(data))]], None, leaves=True)
    return Input(number, "raw", _cut(random, mutate.bytes_of(random, data, mutate.HTTP)), None)
