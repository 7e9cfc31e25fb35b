"""The fuzzer notices what it is there for: a service that lies, hangs, or leaves its clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from tests.fuzz import driver, logs, samples
from tests.fuzz.answers import Documented
from tests.fuzz.driver import Fault, Fuzzer
from tests.fuzz.inputs import Asked, Input, make
from verifier.api.openapi import document
from verifier.app.service import Service
from verifier.wire.problems import document as problem

JSON = "Content-Type: application/json"
PROBLEM = "Content-Type: application/problem+json"
GOOD = (
    b'{"verdict":"not_found","id":"1","reference":null,"hints":[],'
    b'"freshness":{"as_of":"2026-11-24T02:00:00.123Z","source":"replica","stale":false}}'
)
STALE = problem("unavailable", "en", "stale", {"reason": "stale", "retry_after": 1})
BUSY = problem("unavailable", "en", "overloaded", {"reason": "overloaded", "retry_after": 1})


def response(body: bytes, *fields: str, status: int = 200) -> bytes:
    """A response with a whole body."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def answering(said: bytes) -> AsyncIterator[int]:
    """The port of a server that says the same to each request, and closes if that says so."""
    writers: list[asyncio.StreamWriter] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while await reader.read(65_536):
            writer.write(said)
            if not said or b"Connection: close" in said:
                break
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()


@pytest.fixture
def documented(built: Service) -> Documented:
    """Compile what the service says of itself."""
    return Documented(msgspec.json.decode(msgspec.json.encode(document(built.routes, keyed=False))))


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every input be a single question."""
    sent = b"POST /v1/verify HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"

    def question(_: int, number: int) -> Input:
        return Input(number, "request", [sent], [Asked("POST", "/v1/verify")])

    monkeypatch.setattr(driver, "make", question)
    monkeypatch.setattr(driver, "PATIENCE", 0.5)


async def fuzz(said: bytes, documented: Documented) -> None:
    """Send an input to a server that says this; raises Fault."""
    async with answering(said) as port:
        await Fuzzer(port, 1, documented, connections=1).run(0, 1)


@pytest.mark.usefixtures("asking")
@pytest.mark.parametrize(
    "said",
    [response(GOOD, JSON), response(BUSY, PROBLEM, "Retry-After: 1", status=503)],
    ids=["an answer", "too busy"],
)
async def test_who_answers_well_passes(documented: Documented, said: bytes) -> None:
    """As documented, or honestly not at all."""
    await fuzz(said, documented)


LIES = {
    "a fault": (
        response(problem("internal", "en", "x", {}), PROBLEM, status=500),
        "500 .* not doc",
    ),
    "no reason": (response(STALE, PROBLEM, "Retry-After: 1", status=503), "no honest"),
    "no time to come again": (response(BUSY, PROBLEM, status=503), "no honest"),
    "another shape": (response(GOOD[:-1] + b',"x":1}', JSON), "documented shape"),
    "no JSON": (response(b"{", JSON), "no JSON"),
    "another media type": (response(GOOD, "Content-Type: text/html"), "not documented"),
    "a status of its own": (response(GOOD, JSON, status=201), "not documented"),
    "another code": (response(problem("not_found", "en", "x", {}), PROBLEM, status=400), "code"),
    "a field too many": (response(GOOD, JSON, "X-Injected: 1"), "a field too many"),
    "no HTTP": (b"hello\r\n\r\n", "no status line"),
    "a longer body": (response(GOOD + b" " * 9, JSON)[:-9], "no answer within"),
    "an end that nobody announced": (b"", "unannounced"),
    "more than it announced": (
        response(GOOD, JSON, "Connection: close") * 2,
        "more comes behind",
    ),
}


@pytest.mark.usefixtures("asking")
@pytest.mark.parametrize(("said", "found"), LIES.values(), ids=LIES)
async def test_who_lies_is_found(documented: Documented, said: bytes, found: str) -> None:
    """With the seed and the number that make it again."""
    with pytest.raises(Fault, match=f"(?s){found}.*SEED=1 FIRST=0 INPUTS=1"):
        await fuzz(said, documented)


RESULTS = b'{"results":[%b],"summary":{"match":0,"mismatch":0,"not_found":%d,"pending":0,"invalid":0,"unavailable":0,"matches":{"usable":0,"voided":0,"red_flushed":0,"red_letter":0}}}'  # noqa: E501 # one object
RESULT = GOOD[:-1] + b',"index":%d}'


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (RESULTS % (RESULT % 0, 1), "1 results for 2 items"),
        (RESULTS % (RESULT % 0 + b"," + RESULT % 0, 2), "out of order"),
        (RESULTS % (RESULT % 0 + b"," + RESULT % 1, 3), "does not count"),
    ],
)
async def test_a_batch_that_is_not_complete_is_found(
    documented: Documented, monkeypatch: pytest.MonkeyPatch, body: bytes, found: str
) -> None:
    """One result for each item, in order, and counted."""
    asked = Asked("POST", "/v1/verify/batch", items=2)
    given = Input(0, "request", [b"POST / HTTP/1.1\r\n\r\n"], [asked])
    monkeypatch.setattr(driver, "make", lambda *_: given)
    with pytest.raises(Fault, match=found):
        await fuzz(response(body, JSON), documented)


def test_a_number_makes_the_same_input_again() -> None:
    """The seed and it are all that a failure has to be known by."""
    assert [make(3, number) for number in range(50)] == [make(3, number) for number in range(50)]


@pytest.mark.parametrize(
    "line",
    [
        b'{"event":"request refused","level":"warning","code":"bad_request"}',
        b'{"event":"request refused","suppressed":3}',
    ],
)
def test_a_line_of_known_words_may_be_logged(line: bytes) -> None:
    """It holds nothing of a request."""
    assert logs.faults([line]) == []


@pytest.mark.parametrize(
    "line",
    [
        b"Traceback (most recent call last):",
        b'{"event":"request refused","body":"{}"}',
        b'{"event":"request refused","code":"Zq7kanarie"}',
        b'{"event":"zq7kanarie"}',
        b'{"event":"bad number 12345678"}',
        b'{"event":"%b"}' % samples.secrets()[5],
    ],
)
def test_a_line_that_may_hold_more_is_found(line: bytes) -> None:
    """Whatever it is that it holds."""
    assert logs.faults([line]) != []
