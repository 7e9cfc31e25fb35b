"""``Request-Timeout``: what cannot be answered in time is said to be so, and not begun."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import pytest

from tests.api.test_desk import ABSENT, answered, asking, connected
from tests.api.twins import Line, Side, rounds

OTHER = ABSENT.replace(b"99999999", b"77777777")


@pytest.fixture
async def side() -> AsyncIterator[Side]:
    """Run a server whose callers may wait for 60 s at most."""
    side = Side(1_000, single_timeout=60.0, batch_timeout=60.0)
    await side.start()
    yield side
    side.ledger.open.set()
    await side.runner.cleanup()


async def told(line: Line, request: bytes) -> tuple[int, dict[str, object]]:
    """Status and document of the answer to a request."""
    line.said.clear()
    line.protocol.data_received(request)
    await answered(line)
    head, _, body = bytes(line.said).partition(b"\r\n\r\n")
    return int(head[9:12]), json.loads(body)


def batch(question: bytes, *fields: str) -> bytes:
    """A batch of one question."""
    request = asking(b'{"invoices":[%b]}' % question, *fields)
    return request.replace(b"/v1/verify", b"/v1/verify/batch", 1)


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "1e3", "soon", "\u0661", "1" * 10, "5, 5"])
@pytest.mark.parametrize("request_", [asking, batch], ids=["one", "many"])
async def test_what_is_no_number_of_milliseconds(
    side: Side, text: str, request_: Callable[..., bytes]
) -> None:
    """400, with the name of the field and what was expected, for one and for many."""
    request = request_(ABSENT, f"Request-Timeout: {text}")
    status, document = await told(await connected(side), request)
    assert (status, document["code"]) == (400, "malformed_timeout")
    assert str(document["detail"]).startswith("Request-Timeout: expected milliseconds")


async def test_two_timeouts_are_refused(side: Side) -> None:
    """It is not known which one would count."""
    request = asking(ABSENT, "Request-Timeout: 100", "Request-Timeout: 200")
    assert (await told(await connected(side), request))[0] == 400


async def test_a_read_that_takes_longer_is_not_waited_for(side: Side) -> None:
    """It is unavailable in time, and whoever has longer gets the answer of the same read."""
    side.ledger.open.clear()
    patient, hasty = await connected(side), await connected(side)
    patient.protocol.data_received(asking(ABSENT, "Request-Timeout: 60000"))
    await rounds(3)
    status, document = await told(hasty, asking(ABSENT, "Request-Timeout: 20"))
    assert (status, document["reason"]) == (503, "timeout")
    assert not patient.said
    side.ledger.open.set()
    await answered(patient)
    assert b"not_found" in patient.said


async def test_items_that_could_not_be_read_in_time_are_unavailable(side: Side) -> None:
    """A batch whose turn comes after its time is answered, and nothing is read for it."""
    side.ledger.open.clear()
    before, late = await connected(side), await connected(side)
    before.protocol.data_received(batch(ABSENT))
    await rounds(20)
    late.protocol.data_received(batch(OTHER, "Request-Timeout: 500"))
    await rounds(20)
    assert side.ledger.reads == 1
    side.clock.now += 1.0
    side.ledger.open.set()
    async with asyncio.timeout(5):
        # The body of a batch comes in turns, and the clock has just been late.
        while b'"summary"' not in late.said or b'"summary"' not in before.said:
            await asyncio.sleep(0)
    assert side.ledger.reads == 1
    assert b'"verdict":"unavailable","reason":"timeout"' in late.said
    assert b"not_found" in before.said


async def test_no_caller_may_wait_for_longer_than_the_service_allows(side: Side) -> None:
    """A longer time is the service's own."""
    brief = Side(1_000, single_timeout=0.02)
    await brief.start()
    brief.ledger.open.clear()
    request = asking(ABSENT, "Request-Timeout: 60000")
    status, document = await told(await connected(brief), request)
    assert (status, document["reason"]) == (503, "timeout")
    brief.ledger.open.set()
    await brief.runner.cleanup()
