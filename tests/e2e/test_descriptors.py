"""C18: a worker whose descriptors are all in use."""

from __future__ import annotations

import asyncio
import os
import resource
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest

from loadtests.processes import cpu_seconds
from tests.e2e import raw
from tests.e2e.process import Process, started
from tests.e2e.test_bounds import connected
from verifier.api.server.crowd import LINGERING

LIVE = raw.request("/livez", b"", method="GET")
LAST = raw.request("/livez", b"", "Connection: close", method="GET")


def table(process: Process) -> set[int]:
    """The descriptors that a process has."""
    return {int(each) for each in os.listdir(f"/proc/{process.pid}/fd")}


@contextmanager
def full(process: Process) -> Iterator[None]:
    """Let a process open nothing more, while the block runs."""
    used = table(process)
    free = next(number for number in count() if number not in used)
    soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    # What is open beyond the limit stays open.
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (soft, hard))


async def said(process: Process) -> bytes:
    """What a new connection gets to its question: nothing when it is closed."""
    try:
        return await raw.said(process.port, LAST)
    except ConnectionError:
        return b""


async def test_c18_open_connections_are_served_while_no_descriptor_is_free() -> None:
    """New ones are closed, those that are there are answered; afterwards all is as before."""
    async with started({}) as process:
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
        writer.write(LIVE)
        assert b" 200 " in await reader.readuntil(b"}")
        with full(process):
            answers = await asyncio.gather(*(said(process) for _ in range(50)))
            assert b"" in answers
            for _ in range(20):
                writer.write(LIVE)
                async with asyncio.timeout(5):
                    assert b" 200 " in await reader.readuntil(b"}")
        assert raw.statuses(await raw.said(process.port, LAST)) == [200]
        writer.close()


async def test_c18_no_descriptor_free_costs_no_core(capfd: pytest.CaptureFixture[str]) -> None:
    """Clients that come meanwhile keep it neither busy nor writing, nor does its database."""
    async with started({"reconnect_pause": 0.2}) as process:
        capfd.readouterr()
        with full(process):
            await asyncio.gather(*(said(process) for _ in range(50)))
            before = cpu_seconds(process.pid)
            await asyncio.sleep(1.0)
            # Who tries again and again without a pause takes all of it.
            assert cpu_seconds(process.pid) - before < 0.5
        log = capfd.readouterr().err
        assert len(log.splitlines()) < 20
        # What is meant to go on has not ended.
        assert "internal" not in log


async def test_c18_clients_take_no_more_descriptors_than_the_limit_was_raised_for() -> None:
    """However many come: those who are admitted, and an eighth that are told of it and linger."""
    async with started({"max_connections": 160, "turn_away": 10}) as process:
        before = len(table(process))
        async with connected(process, 160, LIVE), connected(process, 200, LIVE):
            assert raw.statuses(await said(process)) in ([503], [])
            taken = len(table(process)) - before
            # Those that come and go meanwhile are to its database.
            assert 160 + 160 // LINGERING <= taken <= 160 + 160 // LINGERING + 5


async def test_many_connections_are_accepted_in_a_round() -> None:
    """The listening socket has as many descriptors, each of which the event loop accepts from."""
    async with started({}) as process:
        folder = f"/proc/{process.pid}/fd"
        links = Counter(os.readlink(f"{folder}/{number}") for number in os.listdir(folder))
        assert [count for count in links.values() if count == 16] == [16]
        answers = await asyncio.gather(*(raw.said(process.port, LAST) for _ in range(100)))
        assert [raw.statuses(answer) for answer in answers] == [[200]] * 100
