"""D21, D25 and the refusals of feeds: who may send what, and in which form."""

from __future__ import annotations

import asyncio
import gzip
import os
import sys
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest

from tests.e2e.support import NDJSON, Service, running
from tests.support import Database, variables
from verifier.database.migrate import migrate
from verifier.synthetic import example
from verifier.wire import schemas

JSON = {"Content-Type": "application/json"}
WATERMARK = b'{"complete_until": "2026-11-01T00:00:00Z"}'


@pytest.fixture
async def service(database: Database) -> AsyncIterator[Service]:
    """Serve an empty ledger."""
    async with running(database) as service:
        yield service


async def send(
    service: Service, path: str, body: bytes, headers: dict[str, str], method: str = "POST"
) -> tuple[int, str]:
    """Status, and the code of a problem."""
    # Without a type of its own accord, as a socket would send it.
    async with service.session.request(
        method,
        f"{service.url}{path}",
        data=body,
        headers=headers,
        skip_auto_headers=["Content-Type"],
    ) as response:
        answer = await response.json(content_type=None)
        return response.status, answer.get("code", "")


@pytest.mark.parametrize("what", ["invoices", "status"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        JSON,
    ],
)
async def test_d21_a_feed_is_ndjson(service: Service, what: str, headers: dict[str, str]) -> None:
    """What a web page's form can send, or is not said to be NDJSON, is 415."""
    refused = await send(service, f"/v1/ledger/{what}", example.LINE, headers)
    assert refused == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "media",
    [
        "application/x-ndjson",
        "application/ndjson; charset=utf-8",
        "application/jsonl",
        "Application/JSON-Lines",
    ],
)
async def test_d21_each_name_of_ndjson_is_taken(service: Service, media: str) -> None:
    """NDJSON is not registered: all names in use are right, parameters included."""
    headers = {"Content-Type": media}
    assert await send(service, "/v1/ledger/invoices", example.LINE, headers) == (200, "")


async def test_d21_a_watermark_is_json(service: Service) -> None:
    """A watermark as text is 415, as JSON it is taken."""
    path = "/v1/ledger/regions/1100/watermark"
    text = {"Content-Type": "text/plain"}
    refused = await send(service, path, WATERMARK, text, "PUT")
    assert refused == (415, "unsupported_media_type")
    assert await send(service, path, WATERMARK, JSON, "PUT") == (200, "")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
    ],
)
async def test_d21_no_page_of_another_site_feeds(
    service: Service, headers: dict[str, str], status: int
) -> None:
    """A browser that says another site's page asks is refused, whatever the media type."""
    got, code = await send(service, "/v1/ledger/invoices", example.LINE, NDJSON | headers)
    assert (got, code) == (status, "cross_site" if status == 403 else "")


async def test_d21_a_page_of_our_own_feeds(service: Service) -> None:
    """An Origin that is the host asked is no other site."""
    headers = NDJSON | {"Origin": service.url}
    assert await send(service, "/v1/ledger/invoices", example.LINE, headers) == (200, "")


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("host", "setting", "expected"),
    [
        ("0.0.0.0", "off", (403, "ledger_not_exposed")),
        ("0.0.0.0", "on", (200, "")),
        ("127.0.0.1", "off", (200, "")),
    ],
)
async def test_d21_the_ledger_is_exposed_beyond_loopback_only_when_told(
    database: Database, workers: str, host: str, setting: str, expected: tuple[int, str]
) -> None:
    """On another host feeds are 403 and the log says so, and all else is served."""
    await migrate(database.primary_dsn)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "verifier", "serve", "--port", "0"),
        *("--host", host, "--workers", workers),
        env=os.environ | variables(primary_dsn=database.primary_dsn, expose_ledger=setting),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            port = (await process.stdout.readline()).decode().strip().rpartition(":")[2]
        async with aiohttp.ClientSession() as session:
            service = Service(f"http://127.0.0.1:{port}", session, database)
            assert await send(service, "/v1/ledger/invoices", example.LINE, NDJSON) == expected
            assert (await service.ask({}))[0] == 422
    finally:
        process.terminate()
        _, log = await process.communicate()
    assert log.count(b"ledger not exposed") == (expected[0] == 403)


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/v1/verify", JSON),
        ("POST", "/v1/verify/batch", JSON),
        ("POST", "/v1/verify/stream", NDJSON),
        ("POST", "/v1/ledger/invoices", NDJSON),
        ("POST", "/v1/ledger/status", NDJSON),
        ("PUT", "/v1/ledger/regions/1100/watermark", JSON),
    ],
)
async def test_a_compressed_body_is_415_everywhere(
    service: Service, method: str, path: str, headers: dict[str, str]
) -> None:
    """No route unpacks bodies, and each says so in the same way."""
    body = gzip.compress(example.LINE)
    refused = await send(service, path, body, headers | {"Content-Encoding": "gzip"}, method)
    assert refused == (415, "content_encoding")


@pytest.mark.parametrize("body", [b"", b"\n\n", b"{}\nnothing\n"])
async def test_a_feed_of_which_nothing_is_taken_is_422(service: Service, body: bytes) -> None:
    """It is a problem that has the members of a feed's answer as well."""
    async with service.session.post(
        f"{service.url}/v1/ledger/invoices", data=body, headers=NDJSON
    ) as response:
        assert response.status == 422
        assert response.content_type == "application/problem+json"
        answer = msgspec.json.decode(await response.read(), type=schemas.NothingAccepted)
    assert answer.code == "nothing_accepted"
    assert answer.rejected_count == len(answer.rejected) == len(body.split())
    unchanged = b"{}\n" + example.LINE
    for _ in range(2):
        assert await send(service, "/v1/ledger/invoices", unchanged, NDJSON) == (200, "")


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/startupz", "/metrics", "/openapi.json", "/v1/freshness"]
)
async def test_d25_head_is_get_without_a_body(service: Service, path: str) -> None:
    """HEAD gives the status and type of GET, no body, and the connection stays usable."""
    port = int(service.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for last in ("", "Connection: close\r\n"):
        writer.write(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n{last}\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
    assert await reader.read() == b""
    writer.close()
