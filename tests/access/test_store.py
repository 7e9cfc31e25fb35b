"""The store: what operators do to tenants and keys, and what of a key is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from tests.access.ground import Follower, only
from tests.support import Database, connected
from verifier.access.keys import digest, is_key, label, make
from verifier.access.rows import KeyRow, Limit
from verifier.access.store import Store
from verifier.config import Config
from verifier.database.migrate import migrate
from verifier.database.primary import Primary
from verifier.errors import ConfigError

PEPPERS = (b"first" * 7, b"second" * 7)
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
WEEK = timedelta(days=7)


@asynccontextmanager
async def store_over(database: Database) -> AsyncIterator[Store]:
    """A store with a connection of its own."""
    config = Config.of(primary_dsn=database.primary_dsn)
    primary = Primary(config.databases, config.ingest)
    try:
        yield Store(primary, PEPPERS)
    finally:
        await primary.close()


@pytest.fixture
async def store(database: Database) -> AsyncIterator[Store]:
    """Keep keys in a database of their own, with one tenant."""
    await migrate(database.primary_dsn)
    async with store_over(database) as store:
        await store.create_tenant("acme", None)
        yield store


async def dump(database: Database) -> str:
    """All rows of all tables, as text."""
    async with connected(database.primary_dsn) as connection:
        tables = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') "
            "AND relnamespace = 'public'::regnamespace"
        )
        rows = [
            row[0]
            for (table,) in tables
            for row in await connection.fetch(f'SELECT t::text FROM "{table}" AS t')
        ]
    return "\n".join(rows)


async def made(store: Store, name: str = "erp", expires_at: datetime | None = None) -> KeyRow:
    """A new key, as it is stored."""
    key = await store.create_key("acme", name, "live", ["verify"], expires_at=expires_at)
    return await store.key(label(digest(PEPPERS[0], key)))


async def test_a_key_is_kept_as_it_was_asked_for(store: Store) -> None:
    """But for the key itself, which is told once."""
    until = NOW + timedelta(days=365)
    key = await store.create_key(
        "acme", "erp", "test", ["verify", "explain"], limit=Limit(2.5, 25), expires_at=until
    )
    assert is_key(key)
    assert key.startswith("ivk_test_")
    (row,) = await store.keys()
    assert (row.label, row.tenant, row.name) == (label(digest(PEPPERS[0], key)), "acme", "erp")
    assert (row.mode, row.scopes, row.limit) == ("test", ("verify", "explain"), Limit(2.5, 25))
    assert (row.expires_at, row.revoked_at, row.used_at, row.live) == (until, None, None, True)


async def test_nothing_that_is_kept_lets_anybody_ask(store: Store, database: Database) -> None:
    """A copy of the database has neither a key, nor its random part, nor a pepper."""
    keys = [await store.create_key("acme", f"key-{n}", "live", ["verify"]) for n in range(3)]
    _, old = await store.rotate_key((await store.keys())[0].label, NOW, WEEK)
    held = await dump(database)
    assert digest(PEPPERS[0], keys[0]).hex() in held
    assert old.label in held
    # Without its checksum too, which anybody can work out.
    secrets = [key[9:39] for key in keys] + [pepper.decode() for pepper in PEPPERS]
    encoded = [each.encode().hex() for each in secrets]
    assert not [each for each in (*secrets, *encoded) if each in held]
    # A digest is no key, in whichever form it is sent.
    assert not is_key(digest(PEPPERS[0], keys[0]).hex())


async def test_a_followed_key_is_the_one_that_was_told(store: Store, database: Database) -> None:
    """Who was told it may ask by it, at the next look of a worker."""
    key = await store.create_key("acme", "erp", "live", ["verify"])
    async with connected(database.primary_dsn) as reader:
        follower = Follower(reader)
        await follower.look()
        assert list(follower.known) == [digest(PEPPERS[0], key).hex()]
        await store.revoke_key(label(digest(PEPPERS[0], key)))
        await follower.look()
        assert only(follower.known)[1] == 0.0


async def test_a_name_has_one_live_key(store: Store) -> None:
    """A second one would be a rotation; when the first has ended, the name is free again."""
    first = await made(store)
    with pytest.raises(ConfigError, match=r"acme has a live key erp.*keys rotate"):
        await made(store)
    await store.revoke_key(first.label)
    await made(store)
    assert [row.live for row in await store.keys("acme")] == [False, True]


async def test_an_expired_key_leaves_its_name(store: Store) -> None:
    """As a revoked one does."""
    await made(store, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert not (await store.keys())[0].live
    assert not await store.has_live_keys()
    await made(store)
    assert await store.has_live_keys()


async def test_two_who_make_a_key_of_a_name_do_not_both(store: Store, database: Database) -> None:
    """One of them is told that it is there."""
    async with store_over(database) as other:
        results = await asyncio.gather(
            *(each.create_key("acme", "erp", "live", ["verify"]) for each in (store, other) * 3),
            return_exceptions=True,
        )
    assert len([each for each in results if isinstance(each, str)]) == 1
    assert len(await store.keys()) == 1


async def test_a_rotation_has_both_hold_for_a_while(store: Store) -> None:
    """The new key is as the old one, which ends after the overlap."""
    old = await made(store)
    now = datetime.now(UTC)
    key, before = await store.rotate_key(old.label[:4], now, WEEK)
    assert before == old
    first, second = await store.keys()
    assert (first.label, first.live, first.expires_at) == (old.label, True, now + WEEK)
    assert second.label == label(digest(PEPPERS[0], key))
    assert (second.name, second.scopes, second.expires_at) == ("erp", ("verify",), None)


async def test_a_rotation_lengthens_nothing(store: Store) -> None:
    """What ends before the overlap does keeps its end; the new key gets as long as the old had."""
    now = datetime.now(UTC)
    old = await made(store, expires_at=now + timedelta(days=3))
    await store.rotate_key(old.label, now, WEEK)
    first, second = await store.keys()
    assert first.expires_at == old.expires_at
    assert second.expires_at is not None
    assert abs(second.expires_at - now - timedelta(days=3)) < timedelta(minutes=1)


async def test_a_third_live_key_is_refused(store: Store) -> None:
    """Until the older one has ended: nobody gets a second key by rotating."""
    old = await made(store)
    new, _ = await store.rotate_key(old.label, datetime.now(UTC), WEEK)
    with pytest.raises(ConfigError, match=r"2 live keys erp already.*revoked first"):
        await store.rotate_key(label(digest(PEPPERS[0], new)), datetime.now(UTC), WEEK)
    await store.revoke_key(old.label)
    await store.rotate_key(label(digest(PEPPERS[0], new)), datetime.now(UTC), WEEK)


async def test_what_has_ended_is_not_rotated(store: Store) -> None:
    """It would come back to life."""
    old = await made(store)
    await store.revoke_key(old.label)
    with pytest.raises(ConfigError, match="does not hold any more"):
        await store.rotate_key(old.label, datetime.now(UTC), WEEK)
    assert len(await store.keys()) == 1


async def test_a_key_is_revoked_once(store: Store) -> None:
    """The moment of the first time stays."""
    row = await made(store)
    assert (await store.revoke_key(row.label)).revoked_at is None
    revoked_at = (await store.key(row.label)).revoked_at
    assert (await store.revoke_key(row.label)).revoked_at == revoked_at
    assert (await store.key(row.label)).revoked_at == revoked_at


@pytest.mark.parametrize("which", ["", "abc", "ABCD", "abcd%", "0123456789", "ivk_live_x", "'; --"])
async def test_what_is_no_label_is_refused(store: Store, which: str) -> None:
    """With what one looks like."""
    await made(store)
    with pytest.raises(ConfigError, match="expected 4 to 8 digits of a label"):
        await store.revoke_key(which)


async def test_a_label_has_to_tell_one_key(store: Store, database: Database) -> None:
    """None, or several, are not guessed at."""
    async with connected(database.primary_dsn) as connection:
        for end in ("00", "01"):
            await connection.execute(
                "INSERT INTO access_key (tenant, name, mode, digest, scopes) SELECT id, "
                f"'key-{end}', 'live', decode(rpad('abcdef{end}', 64, '0'), 'hex'), '{{verify}}' "
                "FROM tenant"
            )
    with pytest.raises(ConfigError, match="several keys"):
        await store.revoke_key("abcdef")
    with pytest.raises(ConfigError, match="no key has that label"):
        await store.revoke_key("1234")
    await store.revoke_key("abcdef01")
    assert [row.live for row in await store.keys()] == [True, False]


@pytest.mark.parametrize("name", ["", "Acme", "acme erp", "-acme", "a" * 64, "é", "acme\n"])
async def test_a_name_that_cannot_be_is_refused(store: Store, name: str) -> None:
    """Of a tenant and of a key, with what one looks like."""
    with pytest.raises(ConfigError, match="small letters, digits and hyphens"):
        await store.create_tenant(name, None)
    with pytest.raises(ConfigError, match="small letters, digits and hyphens"):
        await store.create_key("acme", name, "live", ["verify"])


async def test_a_tenant_is_made_once(store: Store) -> None:
    """And its keys need it."""
    with pytest.raises(ConfigError, match="there is a tenant acme already"):
        await store.create_tenant("acme", None)
    with pytest.raises(ConfigError, match="there is no tenant other"):
        await store.create_key("other", "erp", "live", ["verify"])
    with pytest.raises(ConfigError, match="there is no tenant other"):
        await store.limit_tenant("other", None)


async def test_a_tenant_s_limit_is_changed_and_taken_away(store: Store) -> None:
    """A limit is both numbers, or none."""
    await store.limit_tenant("acme", Limit(10.0, 100))
    assert (await store.tenants())[0].limit == Limit(10.0, 100)
    await store.limit_tenant("acme", None)
    assert (await store.tenants())[0].limit is None


async def test_a_tenant_counts_its_live_keys(store: Store) -> None:
    """Ended ones not."""
    first = await made(store, "one")
    await made(store, "two")
    await made(store, "three", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    await store.revoke_key(first.label)
    assert [(row.name, row.keys) for row in await store.tenants()] == [("acme", 1)]


@pytest.mark.parametrize("revoked", [False, True])
async def test_a_key_that_is_ensured_twice_is_there_once(store: Store, revoked: bool) -> None:
    """Also when it was revoked: that is for good."""
    key = make("test", lambda characters: characters[5])
    await store.ensure_key("demo", "ask", key, "test", ["verify"])
    if revoked:
        await store.revoke_key(label(digest(PEPPERS[0], key)))
    before = await store.keys()
    await store.ensure_key("demo", "ask", key, "test", ["verify", "ingest"])
    assert await store.keys() == before
    assert [row.live for row in before] == [not revoked]


@pytest.mark.parametrize(
    "wrong",
    [
        "expires_at = 'infinity'",
        "rate = 'NaN', burst = 1",
        "rate = 'Infinity', burst = 1",
        "rate = 0, burst = 1",
        "rate = 1, burst = 0",
        "rate = 1",
        "burst = 1",
        "scopes = '{}'",
        "scopes = '{verify,everything}'",
        "scopes = '{NULL}'",
        "scopes = NULL",
        "mode = 'dead'",
        "name = 'Erp'",
        "digest = '\\x00'",
        "tenant = 99",
    ],
)
async def test_a_row_that_no_worker_could_read_is_not_stored(
    store: Store, database: Database, wrong: str
) -> None:
    """Whoever writes past the program: a look that cannot be read would end a worker's watch."""
    await made(store)
    async with connected(database.primary_dsn) as connection:
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await connection.execute(f"UPDATE access_key SET {wrong}")


@pytest.mark.parametrize("wrong", ["rate = 'NaN', burst = 1", "rate = 'Infinity', burst = 1"])
async def test_a_tenant_that_no_worker_could_read_is_not_stored(
    store: Store, database: Database, wrong: str
) -> None:
    """The same for its limit."""
    assert len(await store.tenants()) == 1
    async with connected(database.primary_dsn) as connection:
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await connection.execute(f"UPDATE tenant SET {wrong}")
