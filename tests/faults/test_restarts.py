"""Scenario 13: workers are replaced one after the other under load, and nobody loses anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tests.faults.bulk import UnderWay
from tests.faults.ground import Ground
from tests.faults.load import Load
from tests.faults.scenario import FULL, Row, form, play
from tests.faults.service import Service
from tests.support import require_haproxy
from verifier.cli import balancer
from verifier.cli.balancer import Balancer
from verifier.cli.ports import Reservation

# How often all workers are replaced.
TIMES = 20 if form() is FULL else 1
# Seconds that it may take: each worker starts, and its predecessor drains, in its turn.
PATIENCE = 30.0 * TIMES
# Starts take the time of those who serve: they must not refuse for it, as they may.
PATIENT = {"standing_delay": 10.0}


@contextmanager
def balanced(ground: Ground, folder: Path, **settings: object) -> Iterator[Service]:
    """A service behind HAProxy: its port is the balancer's."""
    with (
        ground.service("--port-each", drain_accept=2, **PATIENT | settings) as service,
        Reservation("127.0.0.1", 0) as address,
        Reservation("127.0.0.1", 0) as statistics,
    ):
        workers = [f"127.0.0.1:{port}" for port in service.ports]
        before = Balancer(address.listener(), f"127.0.0.1:{statistics.port}", workers, folder)
        before.start()
        service.port = address.port
        try:
            yield service
        finally:
            before.stop()


@asynccontextmanager
async def rolled(service: Service) -> AsyncIterator[None]:
    """All workers are replaced so many times."""
    for _ in range(TIMES):
        await service.reload()
    yield


@asynccontextmanager
async def rolled_beside_bulk(load: Load, service: Service) -> AsyncIterator[None]:
    """The same beside large batches, and streams, each of which ends with its worker."""
    bulk = UnderWay(load, service)
    try:
        await bulk.streams_accepted()
        async with rolled(service):
            yield
        await bulk.streams_ended()
    finally:
        cut = await bulk.end()
    assert cut == 0
    for stream in bulk.streams:
        assert b'"complete":false' in stream.summary
        assert 0 < stream.results <= len(stream.asked)


async def lossless(name: str, ground: Ground, service: Service, *, kept: bool) -> Row:
    """Play it; nothing is cut, or unavailable for the restart, on kept connections or new ones."""
    load = ground.load
    before = load.requests_each
    load.requests_each = before if kept else 1
    try:
        row = await play(name, load, service, rolled(service), seconds=0.0, patience=PATIENCE)
    finally:
        load.requests_each = before
    # On a busy machine probes may be late, and a successor's first reads.
    assert row.tally.reasons.keys() <= {"stale", "overloaded"}, row.tally
    return row


@pytest.mark.parametrize("kept", [True, False])
async def test_workers_are_replaced_behind_a_balancer(
    ground: Ground, tmp_path: Path, rows: list[Row], kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario 13: SIGHUP again and again behind HAProxy."""
    require_haproxy()
    monkeypatch.setattr(balancer, "QUEUE", "10s")
    name = f"13 rolling restart, HAProxy, {'kept' if kept else 'new'} connections"
    with balanced(ground, tmp_path) as service:
        rows.append(await lossless(name, ground, service, kept=kept))


async def test_workers_are_replaced(ground: Ground, rows: list[Row]) -> None:
    """Scenario 13, without a balancer: clients that open a connection for each request."""
    with ground.service(**PATIENT) as service:
        name = "13 rolling restart, new connections"
        rows.append(await lossless(name, ground, service, kept=False))


async def test_bulk_ends_honestly(ground: Ground, rows: list[Row]) -> None:
    """Scenario 13: batches that are under way are answered whole; streams say that they are not."""
    with ground.service(drain_accept=2) as service:
        fault = rolled_beside_bulk(ground.load, service)
        name = "13 rolling restart, bulk under way"
        load = ground.load
        rows.append(await play(name, load, service, fault, seconds=0.0, patience=PATIENCE))
