"""What befalls the news of keys, and how soon a key that is revoked is refused everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import aiohttp
import pytest

from tests.e2e.keyring import PEPPER, bearer, label_of, store_of
from tests.faults.ground import Ground
from tests.faults.load import Load
from tests.faults.scenario import FULL, Row, form, play
from tests.faults.service import Service
from tests.faults.test_replicas import feeds_stalled
from tests.faults.test_restarts import balanced
from tests.support import Database, require_haproxy, run
from verifier.access.keys import Scope
from verifier.access.store import Store

SCOPES: tuple[Scope, ...] = ("verify", "explain", "ingest", "watermark")
# The load asks the same wrong questions many times; what becomes of those is not played here.
KEYED: dict[str, object] = {"auth": "on", "key_peppers": PEPPER, "failed_attempts": 1_000_000}

# Seconds for which known keys hold without news, here; longer than a short bound.
KEPT = 1.5
# The feed is stalled for longer than that.
STALLED = max(form().seconds, 3 * KEPT)
# No connection is given up meanwhile: the first look of a new one would bring the news.
PATIENCE = 4 * STALLED
# Seconds in which the processes that tell of keys have all been found idle, and stopped.
ALL_STOPPED = 0.5

REVOKED = 1_000 if form() is FULL else 50
# So many keys are asked with at the same time, each of every worker.
AT_ONCE = 10
WORKERS = 4
PAUSE = 0.02

# Costs no look-up: the key alone decides between 422 and 401.
QUESTION = b'{"number":"12"}'


@asynccontextmanager
async def stored(ground: Ground) -> AsyncIterator[Store]:
    """The keys of the ground."""
    async with store_of(Database("verifier", ground.cluster.primary.dsn, ())) as store:
        yield store


async def new_keys(store: Store, tenant: str, count: int) -> list[str]:
    """So many keys of a new tenant."""
    await store.create_tenant(tenant, None)
    return [
        await store.create_key(tenant, f"key-{number}", "live", SCOPES) for number in range(count)
    ]


class Asker:
    """Asks workers with keys, whether they are good; each at its own port."""

    def __init__(self, session: aiohttp.ClientSession, ports: list[int]) -> None:
        self._session = session
        self.ports = ports

    async def status(self, port: int, key: str) -> int:
        """What a worker says to a question with a key."""
        async with self._session.post(
            f"http://127.0.0.1:{port}/v1/verify", data=QUESTION, headers=bearer(key)
        ) as response:
            await response.read()
            return response.status

    async def known(self, key: str) -> None:
        """Return when every worker lets a key in."""
        for port in self.ports:
            async with asyncio.timeout(form().bound + 5):
                while await self.status(port, key) != 422:
                    await asyncio.sleep(PAUSE)

    async def refused(self, key: str) -> float:
        """Ask until every worker says 401; when a question that one let in was sent last."""
        return max(await asyncio.gather(*(self._refused(port, key) for port in self.ports)))

    async def _refused(self, port: int, key: str) -> float:
        last = 0.0
        while True:
            sent = monotonic()
            status = await self.status(port, key)
            if status == 401:
                return last
            assert status in (422, 503), status
            if status == 422:
                last = sent
            await asyncio.sleep(PAUSE)


@asynccontextmanager
async def asking(service: Service) -> AsyncIterator[Asker]:
    """Somebody who asks the workers of a service."""
    timeout = aiohttp.ClientTimeout(total=30)
    connector = aiohttp.TCPConnector(limit=AT_ONCE * len(service.ports))
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield Asker(session, service.ports)


@asynccontextmanager
async def with_key(load: Load, key: str) -> AsyncIterator[None]:
    """The load asks with a key."""
    load.key = key
    try:
        yield
    finally:
        load.key = ""


@pytest.fixture(scope="module")
def good(ground: Ground) -> str:
    """Make a key that stays good; without one no service starts."""

    async def made() -> str:
        async with stored(ground) as store:
            return (await new_keys(store, "good", 1))[0]

    return run(made())


@pytest.fixture
def one(ground: Ground, good: str) -> Iterator[Service]:
    """Run a worker that asks for keys, which hold for a short time without news."""
    assert good
    with ground.service(workers=1, keys_kept=KEPT, query_timeout=PATIENCE, **KEYED) as service:
        yield service


async def test_the_news_of_keys_stalls(
    ground: Ground, one: Service, good: str, rows: list[Row]
) -> None:
    """Scenario 25: good keys are never refused, and a revoked one holds for a bounded time."""
    stalled = ended = last = revoked = 0.0

    @asynccontextmanager
    async def fault(store: Store, asker: Asker, key: str) -> AsyncIterator[None]:
        nonlocal stalled, ended, last, revoked
        servers = [ground.cluster.primary, *ground.cluster.replicas]
        async with feeds_stalled(servers, "access_key", pause=0.0):
            await asyncio.sleep(ALL_STOPPED)
            stalled = monotonic()
            await store.revoke_key(label_of(key))
            revoked = monotonic()
            refused = asyncio.create_task(asker.refused(key))
            yield
        ended = monotonic()
        last = await refused

    async with stored(ground) as store, asking(one) as asker:
        (bad,) = await new_keys(store, "stalled", 1)
        await asker.known(bad)
        async with with_key(ground.load, good):
            row = await play(
                "25 news of keys stalled",
                ground.load,
                one,
                fault(store, asker, bad),
                seconds=STALLED,
            )
    held = last - revoked
    row.note = f"a key that was revoked meanwhile was let in for {max(0.0, held):.2f} s"
    rows.append(row)
    # That it was let in at all shows that nobody had heard.
    assert held > 0
    assert last <= stalled + KEPT
    assert last <= ended + form().bound


@pytest.fixture
def four(ground: Ground, good: str, tmp_path: Path) -> Iterator[Service]:
    """Run four workers that ask for keys, behind HAProxy."""
    assert good
    require_haproxy()
    with balanced(ground, tmp_path, workers=WORKERS, **KEYED) as service:
        yield service


async def test_keys_are_revoked_under_load(
    ground: Ground, four: Service, good: str, rows: list[Row]
) -> None:
    """Scenario 26: every worker refuses each of them within the staleness bound."""
    held: list[float] = []

    @asynccontextmanager
    async def fault(store: Store, asker: Asker, keys: list[str]) -> AsyncIterator[None]:
        free = asyncio.Semaphore(AT_ONCE)
        turn = asyncio.Lock()

        async def revoke(key: str) -> None:
            async with free:
                await asker.known(key)
                async with turn:
                    await store.revoke_key(label_of(key))
                revoked = monotonic()
                held.append(await asker.refused(key) - revoked)

        async with asyncio.TaskGroup() as tasks:
            for key in keys:
                tasks.create_task(revoke(key))
        yield

    async with stored(ground) as store, asking(four) as asker:
        keys = await new_keys(store, "revoked", REVOKED)
        async with with_key(ground.load, good):
            row = await play(
                "26 revocations under load",
                ground.load,
                four,
                fault(store, asker, keys),
                seconds=0.0,
                patience=600.0,
            )
    worst = max(held)
    row.note = f"{REVOKED:,} keys, the last let in {worst:.2f} s after it was revoked"
    row.recovered = None
    rows.append(row)
    assert len(held) == REVOKED
    assert worst <= form().bound
    assert row.tally.unavailable == 0, row.tally.reasons
