"""Two tenants: what one that asks twenty times its limit does to another's latency.

``python -m bench.limits`` starts a primary and a service, asks with one tenant alone and with both
in turns, and prints the 99th percentile of the one that keeps to its limit.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import monotonic

from loadtests.generator.connections import Reply
from loadtests.generator.loop import OpenLoop
from tests.e2e.keyring import PEPPER, store_of
from tests.e2e.raw import request
from tests.faults.service import Service
from tests.support import Database, run
from verifier.access.rows import Limit
from verifier.database.migrate import migrate
from verifier.embedded import Cluster

RATE, LIMIT, TIMES = 500, 100, 20
TURNS, SECONDS = 6, 5.0
BODY = json.dumps(
    {"number": "26112243396243851343", "date": "2026-10-01", "total": "1.00"}
).encode()


def moments(rate: float, began: float) -> Iterator[float]:
    """The moments of a turn."""
    return (began + each / rate for each in range(int(rate * SECONDS)))


def turn(port: int, keeps: str, exceeds: str | None) -> tuple[float, Counter[int]]:
    """The p99 in milliseconds of who keeps to its limit, and the statuses that the other got."""
    taken: list[float] = []
    others: Counter[int] = Counter()
    one, other = (
        request("/v1/verify", BODY, f"Authorization: Bearer {key}") for key in (keeps, exceeds)
    )

    def answered(reply: Reply) -> None:
        assert reply.status == 200, reply
        taken.append(reply.received - reply.intended)

    def refused(reply: Reply) -> None:
        others[reply.status] += 1

    with OpenLoop(("127.0.0.1", port), limit=200, requests_each=10_000) as loop:
        began = monotonic() + 0.1
        loop.each(moments(RATE, began), lambda at: loop.send(one, at, answered))
        if exceeds is not None:
            loop.each(moments(LIMIT * TIMES, began), lambda at: loop.send(other, at, refused))
        loop.run(lambda: monotonic() > began + SECONDS)
    return quantiles(taken, n=100)[-1] * 1e3, others


def main() -> None:
    """Ask in turns, and print."""
    with TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder) / "data", replicas=0)
        run(cluster.start())
        try:
            _measure(Database("verifier", cluster.primary.dsn, ()), Path(folder))
        finally:
            run(cluster.stop())


def _measure(database: Database, folder: Path) -> None:
    async def made() -> list[str]:
        await migrate(database.primary_dsn)
        keys = []
        async with store_of(database) as store:
            for name, limit in (("keeps", None), ("exceeds", Limit(LIMIT, LIMIT))):
                await store.create_tenant(name, limit)
                keys.append(await store.create_key(name, "erp", "live", ("verify", "explain")))
        return keys

    keeps, exceeds = run(made())
    settings = {"primary_dsn": database.primary_dsn, "auth": "on", "key_peppers": PEPPER}
    service = Service(folder / "service.log", 1, settings)
    try:
        turn(service.port, keeps, exceeds)
        alone, beside = [], []
        for _ in range(TURNS):
            alone.append(turn(service.port, keeps, None)[0])
            p99, others = turn(service.port, keeps, exceeds)
            beside.append(p99)
            print(f"alone {alone[-1]:.2f} ms, beside {p99:.2f} ms; the other got {dict(others)}")
    finally:
        service.stop()
    ratio = median(beside) / median(alone)
    print(f"p99 alone {median(alone):.2f} ms, beside {median(beside):.2f} ms: {ratio:.2f} times")


if __name__ == "__main__":
    main()
