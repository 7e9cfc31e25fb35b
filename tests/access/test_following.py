"""Following: what a worker hears of tenants and keys, on the primary and on a replica."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from math import inf
from typing import NamedTuple

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.access.ground import Follower, add_key, add_tenant, only, stored
from tests.support import Database, connected, no_shares, wait_replayed
from verifier.access.following import Following
from verifier.access.keyring import Keyring
from verifier.clocks import system_clocks
from verifier.database.migrate import migrate


class Ground:
    """A follower of one database, three connections that write, and a tenant."""

    def __init__(
        self, database: Database, reader: asyncpg.Connection, writers: list[asyncpg.Connection]
    ) -> None:
        self.database = database
        self.reader = reader
        self.follower = Follower(reader)
        self.writers = writers
        self.tenant = 0

    async def replayed(self) -> None:
        """Return when replicas show what was committed."""
        await wait_replayed(self.database.primary_dsn, self.database.replica_dsns)

    async def look(self) -> list[int]:
        """Look at all that was committed."""
        await self.replayed()
        return await self.follower.look()


async def ground_of(stack: AsyncExitStack, database: Database, role: str) -> Ground:
    """All of it, with nobody's keys."""
    await migrate(database.primary_dsn)
    await wait_replayed(database.primary_dsn, database.replica_dsns)
    dsn = database.primary_dsn if role == "primary" else database.replica_dsns[0]
    writers = [await stack.enter_async_context(connected(database.primary_dsn)) for _ in range(3)]
    ground = Ground(database, await stack.enter_async_context(connected(dsn)), writers)
    ground.tenant = await add_tenant(writers[0], "acme")
    return ground


@pytest.fixture(params=["primary", "replica"])
async def ground(database: Database, request: pytest.FixtureRequest) -> AsyncIterator[Ground]:
    """Follow the primary, or a replica."""
    async with AsyncExitStack() as stack:
        yield await ground_of(stack, database, request.param)


async def test_a_new_key_is_heard_of_at_the_next_look(ground: Ground) -> None:
    """With its tenant, whether that is new or not."""
    await ground.look()
    assert ground.follower.known == {}
    await add_key(ground.writers[0], ground.tenant, "erp")
    await ground.look()
    assert only(ground.follower.known) == (frozenset({"verify"}), inf, "acme")


@pytest.mark.parametrize(
    ("change", "scopes", "until"),
    [
        ("revoked_at = now()", {"verify"}, 0.0),
        ("expires_at = '2031-01-01T00:00:00Z'", {"verify"}, 1_924_992_000.0),
        ("scopes = '{verify,explain}'", {"verify", "explain"}, inf),
        # Whoever writes past the program may say which transaction it was, and is not believed.
        ("scopes = '{ingest}', changed = '3'", {"ingest"}, inf),
    ],
)
async def test_a_change_by_plain_sql_is_heard_of(
    ground: Ground, change: str, scopes: set[str], until: float
) -> None:
    """Though it says nothing about the transaction that makes it."""
    await add_key(ground.writers[0], ground.tenant, "erp")
    await ground.look()
    await ground.writers[1].execute(f"UPDATE access_key SET {change}")
    await ground.look()
    assert only(ground.follower.known) == (frozenset(scopes), until, "acme")


async def test_a_tenant_s_change_is_heard_of(ground: Ground) -> None:
    """Its keys stay as they are."""
    await add_key(ground.writers[0], ground.tenant, "erp")
    await ground.look()
    await ground.writers[0].execute("UPDATE tenant SET name = 'renamed', rate = 5, burst = 9")
    assert len(await ground.look()) == 1
    assert only(ground.follower.known)[2] == "renamed"


async def test_nothing_is_read_when_nothing_has_changed(ground: Ground) -> None:
    """A look costs a query without rows."""
    await add_key(ground.writers[0], ground.tenant, "erp")
    assert len(await ground.look()) == 2
    assert await ground.look() == []


async def test_a_late_commit_is_not_passed_over(ground: Ground) -> None:
    """It began before others that have committed, and commits after several looks."""
    early, late = ground.writers[:2]
    await ground.look()
    await late.execute("BEGIN")
    await add_key(late, ground.tenant, "late")
    for number in range(3):
        await add_key(early, ground.tenant, f"early-{number}")
        await ground.look()
    assert len(ground.follower.known) == 3
    await late.execute("COMMIT")
    assert len(await ground.look()) == 1
    assert len(ground.follower.known) == 4


async def test_nothing_is_read_twice_while_a_transaction_stays_open(ground: Ground) -> None:
    """However long somebody else takes, each row comes once."""
    open_, writer = ground.writers[:2]
    await ground.look()
    await open_.execute("BEGIN; SELECT pg_current_xact_id()")
    for number in range(5):
        await add_key(writer, ground.tenant, f"key-{number}")
        assert len(await ground.look()) == 1
        assert await ground.look() == []
    await open_.execute("COMMIT")
    assert await ground.look() == []
    # What was seen is forgotten with the transaction that was open.
    assert ground.follower.following._seen == set()


async def test_a_row_that_changes_again_comes_again(ground: Ground) -> None:
    """Also when its first change was seen while another transaction was open."""
    open_, writer = ground.writers[:2]
    await open_.execute("BEGIN; SELECT pg_current_xact_id()")
    await add_key(writer, ground.tenant, "erp")
    await ground.look()
    await writer.execute("UPDATE access_key SET revoked_at = now()")
    assert len(await ground.look()) == 1
    assert only(ground.follower.known)[1] == 0.0
    await open_.execute("ROLLBACK")


async def test_what_is_rolled_back_is_never_heard_of(ground: Ground) -> None:
    """Whole, or to a savepoint."""
    writer = ground.writers[0]
    await ground.look()
    await writer.execute("BEGIN")
    await add_key(writer, ground.tenant, "never")
    await writer.execute("ROLLBACK; BEGIN; SAVEPOINT before")
    await add_key(writer, ground.tenant, "nor-this")
    await writer.execute("ROLLBACK TO before")
    await add_key(writer, ground.tenant, "but-this")
    await writer.execute("COMMIT")
    assert len(await ground.look()) == 1
    assert ground.follower.known == await stored(writer)


async def test_anew_reads_everything(ground: Ground) -> None:
    """Another server may have another history."""
    for number in range(3):
        await add_key(ground.writers[0], ground.tenant, f"key-{number}")
    assert len(await ground.look()) == 4
    assert len(await ground.follower.look(anew=True)) == 4
    assert await ground.follower.look() == []


async def test_a_look_that_fails_is_made_up_for(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing counts as seen of which the keyring was not told."""
    await ground.look()
    await add_key(ground.writers[0], ground.tenant, "erp")
    await ground.replayed()
    with monkeypatch.context() as patch:

        def fails(*_: object) -> None:
            raise ConnectionError

        patch.setattr(Keyring, "put_key", fails)
        with pytest.raises(ConnectionError):
            await ground.follower.look()
    assert len(await ground.look()) == 1
    assert len(ground.follower.known) == 1


async def test_a_thousand_keys_leave_turns_to_others(ground: Ground) -> None:
    """They are put in pieces, and all of them are."""
    await ground.writers[0].execute(
        "INSERT INTO access_key (tenant, name, mode, digest, scopes) "
        "SELECT $1, 'key-' || i, 'test', sha256(i::text::bytea), '{verify}' "
        "FROM generate_series(1, 1000) AS i",
        ground.tenant,
    )
    await ground.replayed()
    sizes = set()
    looking = asyncio.create_task(ground.follower.look())
    while not looking.done():
        sizes.add(len(ground.follower.keyring))
        await asyncio.sleep(0)
    assert len(await looking) == 1_001
    assert len(ground.follower.keyring) == 1_000
    assert len(sizes - {0, 1_000}) >= 4


async def test_a_silent_database_is_given_up(ground: Ground) -> None:
    """Within the bound of a query."""
    following = Following(ground.follower.keyring, 0.2)
    await ground.writers[0].execute("BEGIN; LOCK TABLE tenant IN ACCESS EXCLUSIVE MODE")
    async with connected(ground.database.primary_dsn) as reader:
        async with asyncio.timeout(3):
            with pytest.raises(TimeoutError):
                await following.follow(reader, anew=True, timeline=1, as_of=1.0)
        reader.terminate()
    await ground.writers[0].execute("ROLLBACK")
    assert not ground.follower.keyring.is_read


@pytest.mark.parametrize("table", ["tenant", "access_key"])
@pytest.mark.parametrize("refused", ["DELETE FROM", "TRUNCATE"])
@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_rows_are_not_removed(
    database: Database, table: str, refused: str, role: str
) -> None:
    """Nobody would hear of it; also where triggers are said to be for others."""
    await migrate(database.primary_dsn)
    async with connected(database.primary_dsn) as connection:
        await add_tenant(connection, "acme")
        await connection.execute(f"SET session_replication_role = {role}")
        cascade = "CASCADE" if refused == "TRUNCATE" else ""
        with pytest.raises(asyncpg.RaiseError, match="keeps its rows"):
            await connection.execute(f"{refused} {table} {cascade}")


async def test_a_lagging_replica_undoes_nothing(database: Database) -> None:
    """It shows a key as it was, which another database has shown revoked."""
    async with AsyncExitStack() as stack:
        ground = await ground_of(stack, database, "primary")
        replica = await stack.enter_async_context(connected(database.replica_dsns[0]))
        await add_key(ground.writers[0], ground.tenant, "erp")
        await ground.replayed()
        keyring = ground.follower.keyring
        lagging = Follower(replica, keyring)
        await replica.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM tenant")
        await ground.writers[0].execute("UPDATE access_key SET revoked_at = now()")
        await ground.look()
        assert len(await lagging.look()) == 2
        assert only(ground.follower.known)[1] == 0.0


class Step(NamedTuple):
    """What one of three writers does, or where somebody looks."""

    writer: int
    what: str


STEPS = st.builds(
    Step,
    st.integers(0, 2),
    st.sampled_from(["write", "share", "undo", "commit", "roll back", "look", "look"]),
)


class Writers:
    """Writers that never wait for each other: who has written the shared key holds it."""

    def __init__(self, ground: Ground, round_: int) -> None:
        self._ground = ground
        self._round = round_
        self._serial = 0
        self._open: set[int] = set()
        self._holder: int | None = None

    async def take(self, step: Step) -> None:
        """One step of a writer."""
        connection = self._ground.writers[step.writer]
        if step.what in ("commit", "roll back"):
            if step.writer in self._open:
                await connection.execute("COMMIT" if step.what == "commit" else "ROLLBACK")
            self._open.discard(step.writer)
            self._holder = None if self._holder == step.writer else self._holder
            return
        if step.writer not in self._open:
            await connection.execute("BEGIN")
            self._open.add(step.writer)
        self._serial += 1
        if step.what == "share":
            if self._holder in (None, step.writer):
                self._holder = step.writer
                await connection.execute(
                    "UPDATE access_key SET expires_at = to_timestamp($1) WHERE name = 'shared'",
                    2_000_000_000.0 + self._serial,
                )
            return
        if step.what == "undo":
            await connection.execute("SAVEPOINT before")
        name = f"key-{self._round}-{self._serial}"
        await add_key(connection, self._ground.tenant, name)
        if step.what == "undo":
            await connection.execute("ROLLBACK TO before")

    async def end(self) -> None:
        """Commit what is open."""
        for writer in list(self._open):
            await self.take(Step(writer, "commit"))


def test_whatever_the_order_the_last_look_knows_the_table(database: Database) -> None:
    """Writers begin, write, commit and roll back in any order between looks at two databases."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        ground = runner.run(ground_of(stack, database, "primary"))
        replica = runner.run(stack.enter_async_context(connected(database.replica_dsns[0])))
        runner.run(add_key(ground.writers[0], ground.tenant, "shared"))
        rounds = 0

        async def example(steps: list[Step]) -> None:
            nonlocal rounds
            rounds += 1
            followers = [Follower(ground.reader), Follower(replica)]
            # And both at once, as a worker has them.
            shared = Keyring((), system_clocks(), no_shares(), bound=2.0, kept=60.0)
            both = [Follower(ground.reader, shared), Follower(replica, shared)]
            writers = Writers(ground, rounds)
            for step in steps:
                if step.what == "look":
                    for each in (*followers, *both):
                        await each.look()
                else:
                    await writers.take(step)
            await writers.end()
            await ground.replayed()
            expected = await stored(ground.reader)
            for each in (*followers, *both):
                await each.look()
                assert each.known == expected
            for each in followers:
                looks = Counter(xid for look in each.spy.looks for xid in set(look))
                assert set(looks.values()) <= {1}

        @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(st.lists(STEPS, min_size=12, max_size=40))
        def holds(steps: list[Step]) -> None:
            runner.run(example(steps))

        try:
            holds()
        finally:
            runner.run(stack.aclose())
