"""The veil: a key without ``explain`` does not tell which invoices are there, nor does time."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from time import perf_counter
from typing import NamedTuple

import pytest
from scipy.stats import ks_2samp  # type: ignore[import-untyped]

from tests.e2e import raw
from tests.e2e.keyring import ON, bearer, known, new_key
from tests.e2e.support import NDJSON, Json, Service, running
from tests.ledger.support import blocks, line, number
from tests.support import Database, writer_of
from verifier.config import Config
from verifier.database.migrate import migrate

# How many questions of each kind are timed, and how sure the difference has to be to be one: noise
# alone passes for one less than once in a thousand runs.
SAMPLES = 150
SURE = 1e-4

# Numbers of the ledger, and beyond.
KNOWN, UNKNOWN = 1, 1_000_000

OWN = re.compile(rb'"id":"[^"]*"|\r\nDate: [^\r]*')


class Veiled(NamedTuple):
    """A service with invoices, and keys without and with ``explain``."""

    service: Service
    veiled: str
    open: str

    @property
    def port(self) -> int:
        """Where it serves."""
        return int(self.service.url.rpartition(":")[2])


@pytest.fixture
async def veiled(database: Database) -> AsyncIterator[Veiled]:
    """Serve a ledger of a few hundred invoices."""
    await migrate(database.primary_dsn)
    # Before anybody serves: then every state that is read has them.
    writer = writer_of(Config.of(primary_dsn=database.primary_dsn))
    await writer.ingest(blocks(line(KNOWN + each) for each in range(SAMPLES)))
    await writer.set_watermark("1100", datetime(2026, 6, 1, tzinfo=UTC))
    await writer.close()
    hidden = await new_key(database, "hidden", "verify")
    open_ = await new_key(database, "open", "verify", "explain")
    async with running(database, **ON) as service:
        for key in (hidden, open_):
            await known(service, key, 422)
        yield Veiled(service, hidden, open_)


def question(sequence: int, total: str = "1.00", date: str = "2026-03-01") -> Json:
    """A question of which the total is wrong, unless said."""
    return {"number": number(sequence), "date": date, "total": total, "reference": "r"}


class Line:
    """A connection that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, key: str, question: Json, *fields: str) -> bytes:
        """The whole answer to a question, in bytes, but for its id and date."""
        body = json.dumps(question).encode()
        self._writer.write(raw.request("/v1/verify", body, f"Authorization: Bearer {key}", *fields))
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        return OWN.sub(b"", head + await self._reader.readexactly(length))

    async def seconds(self, key: str, question: Json, *fields: str) -> float:
        """How long an answer takes."""
        began = perf_counter()
        await self.ask(key, question, *fields)
        return perf_counter() - began


@asynccontextmanager
async def line_to(veiled: Veiled) -> AsyncIterator[Line]:
    """A connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", veiled.port)
    yield Line(reader, writer)
    writer.close()


@pytest.fixture
async def kept(veiled: Veiled) -> AsyncIterator[Line]:
    """Connect, and keep it."""
    async with line_to(veiled) as line_:
        yield line_


# By the front desk, and past it.
WAYS: list[tuple[str, ...]] = [(), ("Request-Timeout: 1000",)]


@pytest.mark.parametrize("fields", WAYS)
@pytest.mark.parametrize(
    ("date", "verdict"), [("2026-03-01", b"not_found"), ("2026-11-01", b"pending")]
)
async def test_a_mismatch_has_the_bytes_of_an_absence(
    veiled: Veiled, kept: Line, fields: tuple[str, ...], date: str, verdict: bytes
) -> None:
    """Read the first time, and from memory the second; head and body."""
    told = {
        await kept.ask(veiled.veiled, question(sequence, date=date), *fields)
        for sequence in (KNOWN, UNKNOWN)
        for _ in range(3)
    }
    assert len(told) == 1, told
    (said,) = told
    assert b'"verdict":"%b"' % verdict in said
    assert b"freshness" not in said


@pytest.mark.parametrize("fields", WAYS)
async def test_without_the_veil_the_bytes_differ(
    veiled: Veiled, kept: Line, fields: tuple[str, ...]
) -> None:
    """What is hidden is there to be told."""
    differs = await kept.ask(veiled.open, question(KNOWN), *fields)
    absent = await kept.ask(veiled.open, question(UNKNOWN), *fields)
    assert b'"mismatched":["total"]' in differs
    assert b'"verdict":"not_found"' in absent


async def test_in_a_batch_the_results_are_alike(veiled: Veiled) -> None:
    """Those of a batch with both, but for their places and ids."""
    veiled.service.session.headers.update(bearer(veiled.veiled))
    results = await veiled.service.batch(
        [question(each) for each in (KNOWN, UNKNOWN, KNOWN + 1, UNKNOWN + 1)]
    )
    for result in results:
        del result["id"], result["index"]
    assert results == [results[0]] * 4
    assert results[0]["verdict"] == "not_found"
    del veiled.service.session.headers["Authorization"]


async def test_in_a_stream_the_results_are_alike(veiled: Veiled) -> None:
    """The same for its lines."""
    veiled.service.session.headers.update(bearer(veiled.veiled) | NDJSON)
    asked = [question(each) for each in (KNOWN, UNKNOWN, KNOWN + 1, UNKNOWN + 1)]
    *results, last = await veiled.service.stream(json.dumps(each).encode() for each in asked)
    for result in results:
        del result["id"], result["index"]
    assert results == [results[0]] * 4
    assert last["summary"]["not_found"] == 4
    assert last["summary"]["mismatch"] == 0


async def times(veiled: Veiled, key: str, *fields: str) -> tuple[list[float], list[float]]:
    """How long mismatches and absences take, asked side by side; what is there, memory has."""
    there: list[float] = []
    absent: list[float] = []
    async with line_to(veiled) as one, line_to(veiled) as other:
        for sequence in range(SAMPLES):
            await one.ask(veiled.open, question(KNOWN + sequence, "113.00"))
            # Neither kind is always asked first.
            pair = [
                (one, KNOWN + sequence, there),
                (other, UNKNOWN + sequence, absent),
            ][:: 1 if sequence % 2 else -1]
            seconds = await asyncio.gather(
                *(each.seconds(key, question(asked), *fields) for each, asked, _ in pair)
            )
            for (_, _, taken), each in zip(pair, seconds, strict=True):
                taken.append(each)
    return there, absent


@pytest.mark.parametrize("fields", WAYS)
async def test_time_does_not_tell_them_apart(veiled: Veiled, fields: tuple[str, ...]) -> None:
    """A mismatch that memory has and an absence that is asked of the primary take as long."""
    there, absent = await times(veiled, veiled.veiled, *fields)
    assert ks_2samp(there, absent).pvalue > SURE
    # To the end of a period, or of a later one: no sooner.
    assert min(there + absent) >= Config().access.veil * 0.99


@pytest.mark.parametrize("fields", WAYS)
async def test_without_the_veil_time_tells(veiled: Veiled, fields: tuple[str, ...]) -> None:
    """The same test of the same questions, by a key that may know: it is able to fail."""
    there, absent = await times(veiled, veiled.open, *fields)
    assert ks_2samp(there, absent).pvalue < SURE / 100


@pytest.mark.parametrize("fields", WAYS)
async def test_a_match_comes_at_once(veiled: Veiled, kept: Line, fields: tuple[str, ...]) -> None:
    """Who knows the invoice does not wait for others' secrets."""
    match = question(KNOWN, "113.00")
    assert b'"verdict":"match"' in await kept.ask(veiled.veiled, match, *fields)
    quickest = min([await kept.seconds(veiled.veiled, match, *fields) for _ in range(20)])
    assert quickest < Config().access.veil / 2


async def test_a_timeout_that_ends_first_tells_nothing(veiled: Veiled, kept: Line) -> None:
    """The header is not heeded: what comes in a short time is what memory has."""
    await kept.ask(veiled.open, question(KNOWN, "113.00"))
    told = {
        await kept.ask(veiled.veiled, question(sequence), "Request-Timeout: 10")
        for sequence in (KNOWN, UNKNOWN)
    }
    assert len(told) == 1, told
    (said,) = told
    assert b'"verdict":"not_found"' in said
