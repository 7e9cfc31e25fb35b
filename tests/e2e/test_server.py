"""What the server does with connections: half-closed, slow, too many, and what it cannot read."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from tests.e2e import process, raw
from tests.e2e.support import Json, Service, running
from tests.support import Database
from verifier.api.routes import all_routes
from verifier.api.server.route import Route
from verifier.api.server.shapes import Operation
from verifier.synthetic import example

QUESTION = example.QUESTION.encode()
BATCH = b'{"invoices": [%b]}' % QUESTION
TAX_ID = b"91110108MA01ABCD2X"
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: v\r\n\r\n"


class Client:
    """One raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next response."""
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            line, *fields = head.strip().split("\r\n")
            headers = dict(field.lower().split(": ", 1) for field in fields)
            if "content-length" in headers:
                body = await self.reader.readexactly(int(headers["content-length"]))
            else:
                body = await self.reader.readuntil(b"0\r\n\r\n")
        return int(line.split()[1]), headers, body

    async def problem(self) -> tuple[int, Json]:
        """Status and document of the next response, which is a problem."""
        status, headers, body = await self.answer()
        assert headers["content-type"] == "application/problem+json"
        document: Json = json.loads(body)
        assert document["status"] == status
        return status, document

    async def ended(self) -> None:
        """Return when the server has closed its side."""
        async with asyncio.timeout(10):
            assert await self.reader.read() == b""


@asynccontextmanager
async def connected(service: Service | process.Process, sent: bytes = b"") -> AsyncIterator[Client]:
    """A raw connection to a service, on which something was sent."""
    host, port = service.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(sent)
        await writer.drain()
        yield Client(reader, writer)
    finally:
        writer.close()


async def closed(*clients: Client) -> None:
    """Half-close connections and wait until the server has closed them too."""
    for client in clients:
        client.writer.write_eof()
        await client.ended()


@pytest.fixture
async def service(database: Database) -> AsyncIterator[Service]:
    """Run a service with the bounds that it has by default."""
    async with running(database) as service:
        yield service


def post(path: str, body: bytes, content_type: str = "application/json") -> bytes:
    """A request with a body."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: v\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


NDJSON = "application/x-ndjson"
WHOLE = {
    "single": (post("/v1/verify", QUESTION), 200, b'"verdict":"not_found"'),
    "batch": (post("/v1/verify/batch", BATCH), 200, b'"not_found":1'),
    "stream": (post("/v1/verify/stream", QUESTION, NDJSON), 200, b'"complete":true'),
    "feed": (post("/v1/ledger/invoices", b"{}", NDJSON), 422, b'"rejected"'),
}


# B14: half-closed connections


@pytest.mark.parametrize(("request_", "status", "expected"), WHOLE.values(), ids=WHOLE)
async def test_half_closed_client_is_answered(
    service: Service, request_: bytes, status: int, expected: bytes
) -> None:
    """Who half-closes after the request gets the answer, then the end."""
    async with connected(service, request_) as client:
        client.writer.write_eof()
        answered, _, body = await client.answer()
        assert answered == status
        assert expected in body
        await client.ended()


async def test_half_closed_client_gets_all_its_answers(service: Service) -> None:
    """Requests sent one behind the other before the half-close are all answered."""
    async with connected(service, post("/v1/verify", QUESTION) * 20) as client:
        client.writer.write_eof()
        for _ in range(20):
            assert (await client.answer())[0] == 200
        await client.ended()


@pytest.mark.parametrize("path", ["/v1/verify", "/v1/verify/batch", "/v1/ledger/invoices"])
async def test_half_close_within_a_body(service: Service, path: str) -> None:
    """A body that the half-close cuts is refused at once, never taken for a whole one."""
    cut = post(path, BATCH, NDJSON if "ledger" in path else "application/json")[:-10]
    async with connected(service, cut) as client:
        client.writer.write_eof()
        status, document = await client.problem()
        assert (status, document["code"]) == (400, "bad_request")
        await client.ended()


async def test_half_close_within_a_body_that_is_refused_unread(service: Service) -> None:
    """What aiohttp refuses by itself, and then reads on, is not waited for either."""
    head = b"POST /v1/verify HTTP/1.1\r\nHost: v\r\nExpect: more\r\nContent-Length: 9\r\n\r\n{"
    async with connected(service, head) as client:
        assert (await client.problem())[0] == 417
        client.writer.write_eof()
        async with asyncio.timeout(5):
            await client.ended()


async def test_half_closed_idle_connection_ends(service: Service) -> None:
    """A half-closed connection without a request under way is closed at once."""
    async with connected(service, LIVEZ) as client:
        assert (await client.answer())[0] == 200
        client.writer.write_eof()
        await client.ended()


async def test_half_closed_client_of_a_worker_process_is_answered(database: Database) -> None:
    """The same on uvloop, as a worker runs."""
    async with process.serving(database) as worker:
        for request, status, expected in WHOLE.values():
            async with connected(worker, request) as client:
                client.writer.write_eof()
                answered, _, body = await client.answer()
                assert (answered, expected in body) == (status, True)
                await client.ended()


async def test_worker_process_bounds_its_connections(database: Database) -> None:
    """On uvloop too, the one beyond the bound is turned away, and those within are answered."""
    async with (
        process.serving(database, max_connections=1) as worker,
        connected(worker, LIVEZ) as first,
    ):
        assert (await first.answer())[0] == 200
        async with connected(worker) as second:
            assert (await second.answer())[0] == 503
            await second.ended()


# C18: bounds on connections


async def test_more_connections_than_allowed(database: Database) -> None:
    """Beyond the bound a connection gets a 503 at once, is counted, and leaves room again."""
    async with running(database, max_connections=2) as service:
        async with connected(service, LIVEZ) as first, connected(service, LIVEZ) as second:
            assert (await first.answer())[0] == 200
            assert (await second.answer())[0] == 200
            async with connected(service) as third:
                status, headers, body = await third.answer()
                assert status == 503
                assert headers["connection"] == "close"
                assert headers["retry-after"] == "1"
                assert json.loads(body)["reason"] == "overloaded"
                await third.ended()
            await closed(first, second)
        async with connected(service, LIVEZ) as next_one:
            assert (await next_one.answer())[0] == 200
        async with service.session.get(f"{service.url}/metrics") as response:
            assert (
                'verifier_http_errors_total{code="too_many_connections",route="server"}'
                in await response.text()
            )


async def test_more_connections_of_an_address_than_allowed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets a 503 as beyond the bound on all, and one more when another one has ended."""
    # All that a test can connect from.
    monkeypatch.setattr("verifier.api.server.addresses.LOOPBACK", ())
    async with (
        running(database, max_connections_per_address=1) as service,
        connected(service, LIVEZ) as first,
    ):
        assert (await first.answer())[0] == 200
        async with connected(service, LIVEZ) as second:
            status, document = await second.problem()
            assert (status, document["reason"]) == (503, "overloaded")
            await second.ended()
        await closed(first)
        async with connected(service, LIVEZ) as third:
            assert (await third.answer())[0] == 200


@pytest.mark.parametrize("sent", [b"", b"GET /livez HT", LIVEZ[:-2]], ids=["none", "line", "head"])
async def test_head_that_is_not_sent(database: Database, sent: bytes) -> None:
    """A connection whose first head is not whole in time gets a 408 and is closed."""
    async with running(database, header_timeout=0.2) as service, connected(service, sent) as client:
        status, document = await client.problem()
        assert (status, document["code"]) == (408, "header_timeout")
        await client.ended()


async def test_trickled_head_of_a_later_request(database: Database) -> None:
    """A head that trickles in on a connection in use has no longer, however often bytes come."""
    async with running(database, header_timeout=0.3) as service, connected(service) as client:
        client.writer.write(LIVEZ)
        assert (await client.answer())[0] == 200

        async def trickle() -> None:
            for byte in LIVEZ[:-1] * 10:
                client.writer.write(bytes([byte]))
                await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        status, _ = await client.problem()
        trickling.cancel()
        assert status == 408


async def test_idle_connection_outlives_the_time_for_a_head(database: Database) -> None:
    """Between requests a connection may be idle for longer than a head may take."""
    async with running(database, header_timeout=0.2) as service, connected(service) as client:
        for _ in range(2):
            client.writer.write(LIVEZ[:9])
            await asyncio.sleep(0.05)
            client.writer.write(LIVEZ[9:])
            assert (await client.answer())[0] == 200
            await asyncio.sleep(0.4)


# D20, D24: refusals


UNREADABLE = {
    "newline in the path": (b"GET /%0a HTTP/1.1\r\nHost: v\r\n\r\n", 404, "not_found"),
    "no version": (b"POST /v1/verify\r\nHost: v\r\n\r\n", 400, "bad_request"),
    "another version": (b"GET /livez HTTP/2.0\r\nHost: v\r\n\r\n", 400, "bad_request"),
    "no HTTP": (b"nonsense\r\n\r\n", 400, "bad_request"),
    "method": (b"G@T / HTTP/1.1\r\nHost: v\r\n\r\n", 400, "bad_request"),
    "header": (b"GET / HTTP/1.1\r\nHost v\r\n\r\n", 400, "bad_request"),
    "expectation": (
        b"POST /v1/verify HTTP/1.1\r\nHost: v\r\nExpect: more\r\nContent-Length: 0\r\n\r\n",
        417,
        "expectation_failed",
    ),
    "expectation that is no text": (
        b"GET /livez HTTP/1.1\r\nHost: v\r\nExpect: \xff\r\n\r\n",
        417,
        "expectation_failed",
    ),
    "expectation that is no text, of nobody": (
        b"GET /%0a HTTP/1.1\r\nHost: v\r\nExpect: \xff\r\n\r\n",
        417,
        "expectation_failed",
    ),
    "long header": (
        b"GET / HTTP/1.1\r\nHost: v\r\nX: %b\r\n\r\n" % (b"x" * 9_000),
        431,
        "header_too_large",
    ),
    "long line": (b"GET /%b HTTP/1.1\r\nHost: v\r\n\r\n" % (b"x" * 9_000), 431, "header_too_large"),
}


@pytest.mark.parametrize(("sent", "status", "code"), UNREADABLE.values(), ids=UNREADABLE)
async def test_refusals_of_aiohttp_are_problems(
    service: Service, sent: bytes, status: int, code: str
) -> None:
    """What aiohttp itself refuses is a problem document; its log line has its id; it counts."""
    with capture_logs() as lines:
        async with connected(service, sent) as client:
            found, document = await client.problem()
    assert (found, document["code"]) == (status, code)
    assert [line["id"] for line in lines if line.get("code") == code] == [document["id"]]
    await service.shows(f'verifier_http_errors_total{{code="{code}",route="server"}} 1.0')


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (
            b"POST /v1/ledger/status HTTP/1.1\r\nHost: v\r\nContent-Type: \xff\r\n\r\n",
            415,
            "unsupported_media_type",
        ),
        (b"GET /%FF HTTP/1.1\r\nHost: v\r\n\r\n", 404, "not_found"),
    ],
    ids=["field", "path"],
)
async def test_what_is_no_text_is_quoted_as_text(
    service: Service, sent: bytes, status: int, code: str
) -> None:
    """Bytes of a head that are no UTF-8 make no fault of what quotes them."""
    async with connected(service, sent) as client:
        found, document = await client.problem()
    assert (found, document["code"]) == (status, code)


def bad_chunk(path: str, first: bytes = b"") -> bytes:
    """A request whose body has a chunk size that is none, but holds tax ids."""
    head = f"POST {path} HTTP/1.1\r\nHost: v\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + first + TAX_ID * 100 + b"\r\n"


@pytest.mark.parametrize("apart", [False, True], ids=["at once", "while it is read"])
async def test_bad_chunk_is_refused_without_its_bytes_in_the_log(
    service: Service, apart: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A chunk size that is none is a 400 at once, and no line of any log holds its bytes."""
    caplog.set_level(logging.DEBUG)
    request = bad_chunk("/v1/verify/batch", b"2\r\n{\n\r\n")
    head, _, rest = request.partition(TAX_ID)
    with capture_logs() as lines:
        async with connected(service, head if apart else request) as client:
            if apart:
                await asyncio.sleep(0.1)
                client.writer.write(TAX_ID + rest)
            status, document = await client.problem()
    assert (status, document["code"]) == (400, "bad_request")
    assert [line["id"] for line in lines if "id" in line] == [document["id"]]
    assert TAX_ID.decode() not in f"{lines} {caplog.text}"


async def test_lines_about_refusals_are_bounded(database: Database) -> None:
    """Beyond so many lines a second none is written; a later one says how many were left out."""
    async with running(database, refusal_lines=3) as service:
        with capture_logs() as lines:
            for _ in range(20):
                async with connected(service, bad_chunk("/v1/verify")) as client:
                    assert (await client.problem())[0] == 400
            await asyncio.sleep(1.1)
            async with connected(service, bad_chunk("/v1/verify")) as client:
                assert (await client.problem())[0] == 400
        refused = [line for line in lines if line["event"] == "request refused"]
        assert len(refused) < 10
        assert len(refused) + sum(line.get("suppressed", 0) for line in refused) == 21
        await service.shows('verifier_http_errors_total{code="bad_request",route="server"} 21.0')


async def test_exception_in_a_handler(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is a 500 problem, counted, and logged once: where it passed, and nothing it said."""
    caplog.set_level(logging.DEBUG)

    async def fail(request: web.Request) -> web.Response:
        raise LookupError(await request.text())

    def with_fault(*given: Any, **how: Any) -> list[Route]:
        return [
            *all_routes(*given, **how),
            Route("POST", "/fault", "fault", fail, Operation("", {})),
        ]

    monkeypatch.setattr("verifier.app.service.all_routes", with_fault)
    async with running(database) as service:
        with capture_logs() as lines:
            async with connected(service, post("/fault", TAX_ID)) as client:
                status, document = await client.problem()
        assert (status, document["code"]) == (500, "internal")
        # Databases may come and go meanwhile.
        [line] = [line for line in lines if "id" in line]
        assert (line["id"], line["error"]) == (document["id"], "LookupError")
        assert any(place.endswith("fail") for place in line["frames"][-2:-1])
        assert TAX_ID.decode() not in f"{lines} {document} {caplog.text}"
        await service.shows('verifier_http_errors_total{code="internal",route="server"} 1.0')


async def test_what_the_loop_reports_without_words(service: Service) -> None:
    """An exception that uvloop reports without a message is counted and logged like others."""
    with capture_logs() as lines:
        asyncio.get_running_loop().call_exception_handler({"exception": OverflowError()})
    [line] = [line for line in lines if line.get("code") == "internal"]
    assert (line["event"], line["error"]) == ("unhandled exception", "OverflowError")


async def test_task_that_nobody_awaits(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """What the event loop reports is a line of ours, without what the exception says."""

    async def fail() -> None:
        raise LookupError(TAX_ID.decode())

    with capture_logs() as lines:
        task = asyncio.create_task(fail())
        await asyncio.wait({task})
        del task
        gc.collect()
    # Databases may have something to say at the same time.
    [line] = [line for line in lines if "error" in line]
    assert (line["event"], line["error"]) == ("Task exception was never retrieved", "LookupError")
    assert TAX_ID.decode() not in f"{lines} {caplog.text}"


async def test_d24_what_is_nowhere_is_counted() -> None:
    """A wrong path and a wrong method are requests refused as a whole, like others."""
    async with process.started({}) as serving:
        await raw.said(serving.port, raw.request("/nope", b"", "Connection: close"))
        wrong = raw.request("/v1/verify", b"", "Connection: close", method="GET")
        await raw.said(serving.port, wrong)
        text = await raw.metrics(serving.port)
    for code in ("not_found", "method_not_allowed"):
        counter = f'verifier_http_errors_total{{code="{code}",route="elsewhere"}}'
        assert raw.value(text, counter) == 1
