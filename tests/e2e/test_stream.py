"""Streams: both directions at once, bounded, and honest about their end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest

from tests.e2e.support import CONFORMANCE, NOON, Json, Service, clock_at, running
from tests.support import Database
from verifier.invoice.record import USES
from verifier.invoice.verdict import VERDICTS
from verifier.pacing import Turns
from verifier.wire import schemas

LINES = (CONFORMANCE / "ledger.ndjson").read_bytes().splitlines()
DIGITAL = next(line for line in map(json.loads, LINES) if line["kind"] == "digital_special")
QUESTION = json.dumps({name: DIGITAL[name] for name in ("number", "date", "total")}).encode()


@pytest.fixture
async def service(database: Database) -> AsyncIterator[Service]:
    """Serve the conformance ledger at the conformance set's moment, with small bounds."""
    settings = {"max_line": 2_000, "idle_timeout": 0.5, "max_streams": 2}
    async with running(database, clock_at(NOON), **settings) as service:
        await service.feed(LINES)
        yield service


async def test_an_answer_comes_while_the_request_is_still_being_sent(service: Service) -> None:
    """Each line is answered before the next one is sent."""
    answered = asyncio.Event()

    async def lines() -> AsyncIterator[bytes]:
        for _ in range(20):
            answered.clear()
            yield QUESTION + b"\n"
            await answered.wait()

    url = f"{service.url}/v1/verify/stream"
    answers = []
    async with asyncio.timeout(20), service.session.post(url, data=lines()) as response:
        async for line in response.content:
            answers.append(json.loads(line))
            answered.set()
    assert [answer.get("verdict") for answer in answers] == ["match"] * 20 + [None]
    assert answers[-1]["complete"] is True


async def test_odd_lines_are_answered_in_their_place(service: Service) -> None:
    """Lines that are no JSON object, or too long, are invalid results; blank ones do not count."""
    long = b'{"reference":"' + b"x" * 3_000 + b'"}'
    lines = [QUESTION, b"[1]", b"", b"{", b"  ", QUESTION + b"\r", b"\xff", long, b"null", QUESTION]
    *answers, end = await service.stream(lines)
    assert [answer["verdict"] for answer in answers] == [
        "match", "invalid", "invalid", "match", "invalid", "invalid", "invalid", "match",
    ]  # fmt: skip
    assert [answer["index"] for answer in answers] == list(range(8))
    assert answers[5]["errors"][0]["code"] == "bad_length"
    for answer in answers:
        msgspec.json.decode(msgspec.json.encode(answer), type=schemas.Result)
    msgspec.json.decode(msgspec.json.encode(end), type=schemas.StreamEnd)
    assert (end["complete"], end["summary"]["match"], end["summary"]["invalid"]) == (True, 3, 5)


async def test_a_long_line_in_pieces_is_one_result(service: Service) -> None:
    """A line longer than the bound is passed over as it arrives, and the stream goes on."""

    async def lines() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"x" * 10_000
        yield b"\n" + QUESTION

    *answers, end = await service.stream(lines())
    assert [answer["verdict"] for answer in answers] == ["invalid", "match"]
    assert end["complete"] is True


async def test_an_empty_stream_is_complete(service: Service) -> None:
    """Nothing asked, nothing answered, and the end says so."""
    (end,) = await service.stream([])
    assert end["complete"] is True
    assert end["summary"].pop("matches") == dict.fromkeys(USES, 0)
    assert end["summary"] == dict.fromkeys(VERDICTS, 0)


async def test_a_stream_that_stands_still_ends_incomplete(service: Service) -> None:
    """Silence beyond the bound ends the stream with what was answered, marked incomplete."""
    forever = asyncio.Event()

    async def lines() -> AsyncIterator[bytes]:
        yield QUESTION + b"\n"
        await forever.wait()

    url = f"{service.url}/v1/verify/stream"
    async with asyncio.timeout(10), service.session.post(url, data=lines()) as response:
        answers = [json.loads(line) async for line in response.content]
    assert [answer.get("verdict") for answer in answers] == ["match", None]
    assert (answers[-1]["complete"], answers[-1]["reason"]) == (False, "idle_timeout")


async def test_a_wait_for_others_is_no_standstill(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream whose turn comes after the bound on its client's silence is answered whole."""

    async def late(_: Turns) -> float:
        await asyncio.sleep(0.6)
        return 0.0

    monkeypatch.setattr(Turns, "next", late)
    *answers, end = await service.stream([QUESTION])
    assert [answer["verdict"] for answer in answers] == ["match"]
    assert end["complete"] is True


async def test_a_line_may_take_longer_than_a_standstill(service: Service) -> None:
    """As long as some of it arrives, a stream does not stand still."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(QUESTION), 20):
            yield QUESTION[start : start + 20]
            await asyncio.sleep(0.2)

    *answers, end = await service.stream(pieces())
    assert [answer["verdict"] for answer in answers] == ["match"]
    assert end["complete"] is True


async def test_cut_streams_leave_nothing_behind(service: Service) -> None:
    """Clients that go away in the middle leave no task, no stream and no connection."""
    before = len(asyncio.all_tasks())
    for _ in range(5):

        async def lines() -> AsyncIterator[bytes]:
            while True:
                yield QUESTION + b"\n"
                await asyncio.sleep(0)

        async with aiohttp.ClientSession() as session:
            url = f"{service.url}/v1/verify/stream"
            async with session.post(url, data=lines()) as response:
                await response.content.readline()
                response.close()
        await service.shows('verifier_requests_in_progress{endpoint="stream"} 0.0')
    async with asyncio.timeout(5):
        while len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.01)
    assert (await service.stream([QUESTION]))[0]["verdict"] == "match"


async def test_a_client_that_does_not_read_is_cut_off(service: Service) -> None:
    """A client that sends and never reads holds bounded memory for a bounded time."""
    host, port = service.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(
        b"POST /v1/verify/stream HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    block = (QUESTION + b"\n") * 500
    chunk = b"%x\r\n%b\r\n" % (len(block), block)
    sent = 0

    async def send_without_end() -> None:
        nonlocal sent
        while True:
            writer.write(chunk)
            sent += len(chunk)
            await writer.drain()

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(send_without_end(), 30)
    # What the kernel's buffers and one block take; the rest was never read.
    assert sent < 32 << 20
    writer.transport.abort()
    await service.shows('verifier_requests_in_progress{endpoint="stream"} 0.0')


async def test_more_streams_than_admitted_are_refused(service: Service) -> None:
    """Beyond max_streams a stream is a 503 with Retry-After; those under way go on."""
    release = asyncio.Event()

    async def lines() -> AsyncIterator[bytes]:
        yield QUESTION + b"\n"
        await release.wait()

    url = f"{service.url}/v1/verify/stream"
    running_ones = [await service.session.post(url, data=lines()) for _ in range(2)]
    async with service.session.post(url, data=QUESTION) as response:
        assert response.status == 503
        assert "Retry-After" in response.headers
    release.set()
    for response in running_ones:
        answers: list[Json] = [json.loads(line) async for line in response.content]
        assert answers[-1]["complete"] is True
