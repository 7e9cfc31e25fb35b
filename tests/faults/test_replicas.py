"""What befalls replicas: they die, freeze, fall behind, cancel queries, stop telling of changes."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import cycle

import asyncpg

from tests.faults.ground import Ground, ended, execute
from tests.faults.scenario import Row, play
from tests.faults.service import Service
from verifier.embedded import Server
from verifier.embedded.processes import send


@asynccontextmanager
async def killed(servers: Sequence[Server]) -> AsyncIterator[None]:
    """Servers are killed, and come back at the end."""
    for server in servers:
        server.kill(signal.SIGKILL)
    yield
    for server in servers:
        await server.start()


@asynccontextmanager
async def frozen(server: Server) -> AsyncIterator[None]:
    """All processes of a server stand still."""
    server.kill(signal.SIGSTOP)
    try:
        yield
    finally:
        server.kill(signal.SIGCONT)


@asynccontextmanager
async def paused(servers: Sequence[Server]) -> AsyncIterator[None]:
    """Replicas stay where they are in the log."""
    for server in servers:
        await execute(server, "SELECT pg_wal_replay_pause()")
    try:
        yield
    finally:
        for server in servers:
            await execute(server, "SELECT pg_wal_replay_resume()")


async def test_a_replica_is_killed(ground: Ground, service: Service, rows: list[Row]) -> None:
    """Scenario 1: one replica dies at once and comes back."""
    fault = killed(ground.cluster.replicas[:1])
    rows.append(await play("1 replica killed", ground.load, service, fault))


async def test_a_replica_is_frozen(ground: Ground, service: Service, rows: list[Row]) -> None:
    """Scenario 2: one replica neither answers nor hangs up."""
    fault = frozen(ground.cluster.replicas[1])
    rows.append(await play("2 replica frozen", ground.load, service, fault))


async def test_replay_is_paused_on_one(ground: Ground, service: Service, rows: list[Row]) -> None:
    """Scenario 3, first half: one replica falls behind."""
    fault = paused(ground.cluster.replicas[:1])
    rows.append(await play("3 replay paused on one replica", ground.load, service, fault))


async def test_replay_is_paused_on_all(ground: Ground, service: Service, rows: list[Row]) -> None:
    """Scenario 3, second half: all replicas fall behind."""
    fault = paused(ground.cluster.replicas)
    rows.append(await play("3 replay paused on all", ground.load, service, fault))


async def test_replay_is_paused_and_tokens_are_old(
    ground: Ground, service: Service, rows: list[Row]
) -> None:
    """Scenario 24: who has an older token is not sent to the replica that has stalled (B10)."""
    ground.load.earlier_tokens = True
    try:
        fault = paused(ground.cluster.replicas[:1])
        row = await play("24 replay paused, earlier tokens", ground.load, service, fault)
    finally:
        ground.load.earlier_tokens = False
    rows.append(row)
    assert row.tally.unavailable == 0, row.tally.reasons


async def test_all_replicas_are_gone(ground: Ground, service: Service, rows: list[Row]) -> None:
    """Scenario 4: no replica is left, and the primary serves within its share."""
    fault = killed(ground.cluster.replicas)
    rows.append(await play("4 all replicas gone", ground.load, service, fault))


# Replay waits for no query: what is in its way is cancelled.
IMPATIENT = {"hot_standby_feedback": "off", "max_standby_streaming_delay": "0"}


@asynccontextmanager
async def impatient(replicas: Sequence[Server]) -> AsyncIterator[None]:
    """Replicas run with other settings."""
    before = [replica._settings for replica in replicas]
    for replica in replicas:
        replica._settings = {**replica._settings, **IMPATIENT}
        await replica.restart()
    try:
        yield
    finally:
        for replica, settings in zip(replicas, before, strict=True):
            replica._settings = settings
            await replica.restart()


@asynccontextmanager
async def conflicts(ground: Ground) -> AsyncIterator[None]:
    """Replay cancels the queries that are in its way, on one replica after the other."""
    replicas = ground.cluster.replicas
    before = [cancelled(replica) for replica in replicas]
    stop = asyncio.Event()
    disturbing = asyncio.create_task(disturb(ground.cluster.primary, replicas, stop))
    try:
        yield
        # Each replica must have cancelled look-ups and probes, or this would show little.
        async with asyncio.timeout(30):
            while not all(
                now > then
                for replica, known in zip(replicas, before, strict=True)
                for now, then in zip(cancelled(replica), known, strict=True)
            ):
                await asyncio.sleep(0.1)
    finally:
        stop.set()
        await disturbing


async def disturb(primary: Server, replicas: Sequence[Server], stop: asyncio.Event) -> None:
    """Have queries wait for a lock, and take away what they may still see before they go on.

    A look-up is over in a fraction of a millisecond and hardly ever in the way. So a replica stands
    still while the lock ends and the old row is vacuumed away; then all that comes at once.
    """
    # From another database of the replicas, where nothing is in the way.
    dsns = (primary.dsn, primary.dsn, *(replica.dsn_for("postgres") for replica in replicas))
    connections = [await asyncpg.connect(dsn) for dsn in dsns]
    locking, vacuuming, *standbys = connections
    try:
        for standby in cycle(standbys):
            if stop.is_set():
                return
            async with locking.transaction():
                await locking.execute("LOCK TABLE invoice, region_watermark")
                await locking.execute("UPDATE service_secret SET value = value")
                await sent(vacuuming, standby)
                # Queries gather before the lock.
                await asyncio.sleep(0.02)
                await standby.execute("SELECT pg_wal_replay_pause()")
            # The primary's own queries see the old row for a moment, too.
            await asyncio.sleep(0.01)
            await vacuuming.execute("VACUUM service_secret")
            await sent(vacuuming, standby)
            await standby.execute("SELECT pg_wal_replay_resume()")
            await asyncio.sleep(0.02)
    finally:
        for connection in connections:
            connection.terminate()


async def sent(primary: asyncpg.Connection, standby: asyncpg.Connection) -> None:
    """Return when a standby has received all that the primary has written."""
    position = await primary.fetchval("SELECT pg_logical_emit_message(false, '', '', true)")
    while not await standby.fetchval("SELECT pg_last_wal_receive_lsn() >= $1::pg_lsn", position):
        await asyncio.sleep(0.001)


def cancelled(replica: Server) -> tuple[int, int]:
    """How many look-ups and how many probes replay has cancelled, as the replica's log says.

    The views of statistics tell of it up to ten seconds later.
    """
    _, *told = replica.log.read_text(errors="replace").split("due to conflict with recovery\n")
    return (
        sum("FROM invoice" in each for each in told),
        sum("FROM region_watermark" in each for each in told),
    )


async def test_queries_conflict_with_recovery(
    ground: Ground, service: Service, rows: list[Row]
) -> None:
    """Scenario 9: replay cancels look-ups and probes."""
    async with impatient(ground.cluster.replicas):
        rows.append(await play("9 recovery conflicts", ground.load, service, conflicts(ground)))


@asynccontextmanager
async def feeds_stalled(
    servers: Sequence[Server], table: str = "ledger_change", pause: float = 0.05
) -> AsyncIterator[None]:
    """The processes that tell of changes in a table stand still, however often they are replaced.

    Look-ups go on. In between they get on for a moment, so that the readers do not just give up;
    unless this ``pause`` is 0.
    """
    stopped: set[int] = set()
    stalling = asyncio.create_task(stall(servers, stopped, FEEDS.format(table=table), pause))
    try:
        yield
    finally:
        await ended(stalling)
        resume(stopped)


async def stall(servers: Sequence[Server], stopped: set[int], feeds: str, pause: float) -> None:
    """Stop those processes for most of the time."""
    connections = [await asyncpg.connect(server.dsn) for server in servers]
    try:
        while True:
            until = time.monotonic() + 0.8
            while time.monotonic() < until:
                for connection in connections:
                    for (pid,) in await connection.fetch(feeds):
                        stopped.add(pid)
                        send([pid], signal.SIGSTOP)
                await asyncio.sleep(0.02)
            if pause:
                resume(stopped)
                await asyncio.sleep(pause)
    finally:
        for connection in connections:
            connection.terminate()


def resume(stopped: set[int]) -> None:
    """Let the processes go on."""
    send(stopped, signal.SIGCONT)
    stopped.clear()


# Whoever has last asked for changes, and does nothing now.
FEEDS = """
SELECT pid FROM pg_stat_activity
WHERE application_name = 'verifier-read' AND query LIKE '%{table}%' AND state = 'idle'
"""


async def test_change_feeds_stall(ground: Ground, service: Service, rows: list[Row]) -> None:
    """Scenario 10: the replicas answer look-ups, but nobody hears of changes."""
    fault = feeds_stalled(ground.cluster.replicas)
    rows.append(await play("10 change logs stalled", ground.load, service, fault))
