"""One limit, four workers behind HAProxy, and three times as much asked: what is admitted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from loadtests.generator.connections import Reply
from loadtests.generator.loop import OpenLoop
from tests.e2e.keyring import PEPPER, store_of
from tests.e2e.raw import request
from tests.faults.service import Service
from tests.support import Database, require_haproxy, run
from verifier.access.rows import Limit
from verifier.cli.balancer import Balancer
from verifier.cli.ports import Reservation
from verifier.database.migrate import migrate

RATE, TIMES, WORKERS = 1_000, 3, 4
# Of a batch; it is cheap, since each of its questions is invalid.
COST = 5
BATCH = json.dumps({"invoices": [{"number": "12"}] * COST}).encode()
WARM_UP, WINDOW = 5.0, 10.0
SECONDS = 16.0


def steadily(second: float) -> Iterator[float]:
    """The moments of a second, evenly."""
    count = RATE * TIMES // COST
    return (second + each / count for each in range(count))


def in_bursts(second: float) -> Iterator[float]:
    """All of it within a tenth of the second."""
    return (second + (each - second) / 10 for each in steadily(second))


Spread = Callable[[float], Iterator[float]]


@contextmanager
def balanced(database: Database, folder: Path) -> Iterator[int]:
    """Four workers behind HAProxy, whose port it is."""
    settings = {
        "primary_dsn": database.primary_dsn,
        "auth": "on",
        "key_peppers": PEPPER,
        # They have two cores with the load.
        "standing_delay": 10,
    }
    service = Service(folder / "service.log", WORKERS, settings, "--port-each")
    try:
        workers = [f"127.0.0.1:{port}" for port in service.ports]
        with Reservation("127.0.0.1", 0) as address, Reservation("127.0.0.1", 0) as statistics:
            at = f"127.0.0.1:{statistics.port}"
            before = Balancer(address.listener(), at, workers, folder)
            before.start()
            try:
                yield address.port
            finally:
                before.stop()
    finally:
        service.stop()


def admitted(port: int, key: str, spread: Spread) -> list[float]:
    """When requests were sent that were admitted, in seconds from the beginning."""
    data = request("/v1/verify/batch", BATCH, f"Authorization: Bearer {key}")
    began = monotonic() + 0.1
    moments: list[float] = []

    def done(reply: Reply) -> None:
        assert reply.status in (200, 429), reply
        if reply.status == 200:
            moments.append(reply.sent - began)

    with OpenLoop(("127.0.0.1", port), limit=100, requests_each=100) as loop:
        loop.each(
            (moment for second in range(int(SECONDS)) for moment in spread(began + second)),
            lambda moment: loop.send(data, moment, done),
        )
        loop.run(lambda: monotonic() > began + SECONDS)
    return moments


def windows(moments: list[float]) -> list[float]:
    """Units a second of each window after the warm-up, a quarter of a second apart."""
    starts = (WARM_UP + each / 4 for each in range(int(4 * (SECONDS - WINDOW - WARM_UP))))
    return [
        COST * sum(start <= each < start + WINDOW for each in moments) / WINDOW for start in starts
    ]


@pytest.mark.parametrize("spread", [steadily, in_bursts])
def test_workers_admit_what_one_would(database: Database, tmp_path: Path, spread: Spread) -> None:
    """In any 10 seconds the rate, give or take a tenth of it."""
    require_haproxy()

    async def made() -> str:
        await migrate(database.primary_dsn)
        async with store_of(database) as store:
            await store.create_tenant("acme", Limit(RATE, RATE))
            return await store.create_key("acme", "erp", "live", ("verify", "explain"))

    key = run(made())
    with balanced(database, tmp_path) as port:
        rates = windows(admitted(port, key, spread))
    print(f"{spread.__name__}: {min(rates):,.0f} to {max(rates):,.0f} of {RATE:,} a second")  # noqa: T201 - the figure
    assert min(rates) >= 0.9 * RATE
    assert max(rates) <= 1.1 * RATE
