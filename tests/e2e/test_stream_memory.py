"""A million questions in one stream, in a process whose memory is watched."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.e2e.process import Process, serving
from tests.support import Database
from verifier.synthetic import example

LINE = json.dumps(json.loads(example.QUESTION)).encode() + b"\n"
MATCH = b'"verdict":"match"'
LINES_PER_BLOCK = 1_000
MIB = 1 << 20


async def stream(process: Process, lines: int, *, pause_every: int = 0) -> tuple[int, bytes, int]:
    """Stream so many questions; returns answers, the last line and the largest memory seen.

    With ``pause_every`` the reader stands still for a moment after so many bytes.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port, limit=1 << 18)
    writer.write(
        b"POST /v1/verify/stream HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    block = LINE * LINES_PER_BLOCK
    chunk = b"%x\r\n%b\r\n" % (len(block), block)
    largest = process.resident()

    async def send() -> None:
        for _ in range(lines // LINES_PER_BLOCK):
            writer.write(chunk)
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    sending = asyncio.create_task(send())
    answers, tail, since = 0, b"", 0
    while not tail.endswith(b"0\r\n\r\n"):
        data = await reader.read(1 << 18)
        assert data
        # With what may be the beginning of one, at the end of the last piece.
        answers += (tail[1 - len(MATCH) :] + data).count(MATCH)
        tail = (tail + data)[-400:]
        since += len(data)
        if since >= (pause_every or 8 * MIB):
            since = 0
            largest = max(largest, process.resident())
            if pause_every:
                await asyncio.sleep(0.02)
    await sending
    writer.close()
    return answers, tail, largest


@pytest.mark.parametrize(("lines", "pause_every"), [(1_000_000, 0), (200_000, MIB)])
async def test_memory_stays_bounded_however_long_the_stream_and_slow_the_reader(
    database: Database, lines: int, pause_every: int
) -> None:
    """A stream grows the process by less than 64 MiB, also when the client reads slowly."""
    async with serving(database, max_staleness=3600) as process:
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
        writer.write(
            b"POST /v1/ledger/invoices HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Content-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n%b"
            % (len(example.LINE), example.LINE)
        )
        assert b'"accepted":1' in await reader.read()
        writer.close()
        await stream(process, 10_000)
        before = process.resident()
        answers, tail, largest = await stream(process, lines, pause_every=pause_every)
        assert answers == lines
        assert b'"summary":{"match":%d,' % lines in tail
        assert b'"complete":true' in tail
        assert largest - before < 64 * MIB
