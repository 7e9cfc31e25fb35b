"""The audit log keeps what it is told, and whatever is done to it afterwards is found and named."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.access.support import SECRET, act, emptied, filled, tampered
from tests.support import Database, connected
from verifier.access import audit
from verifier.access.audit import EMPTY, Act, Fault, Head, append, audit_secrets, entries, verify
from verifier.errors import Unavailable

OTHER = audit_secrets([b"another pepper, of 32 characters."])[0]
COUNT = 6

# What a superuser may do. Those that are made up or copied come three places after their models.
RENUMBER = "UPDATE audit_entry SET seq = seq"
FORGE = (
    "INSERT INTO audit_entry "
    "SELECT seq + 3, at, 'forger', action, subject, detail, address, mac FROM audit_entry"
)
COPY = FORGE.replace("'forger'", "actor")

Rows = list[tuple[Any, ...]]


@pytest.fixture
async def primary(ledger: Database) -> AsyncIterator[asyncpg.Connection]:
    """Connect to the primary, where the audit log is empty."""
    async with connected(ledger.primary_dsn) as connection:
        await emptied(connection)
        yield connection
        await emptied(connection)


async def rows_of(connection: asyncpg.Connection) -> Rows:
    """The log to the last byte."""
    return [tuple(row) for row in await connection.fetch("SELECT * FROM audit_entry ORDER BY seq")]


async def replace_all(connection: asyncpg.Connection, rows: Rows) -> None:
    """Have other rows in the log."""
    async with tampered(connection):
        await connection.execute("TRUNCATE audit_entry")
        await connection.copy_records_to_table("audit_entry", records=rows)


async def test_what_is_appended_is_listed(primary: asyncpg.Connection) -> None:
    """An entry has all that the act said, to the microsecond and in any script, and a number."""
    moment = datetime(2026, 11, 3, 23, 59, 59, 999_999, timezone(timedelta(hours=8)))
    said = Act(
        at=moment,
        actor="key 1a2b3c4d",
        action="tenant.suspend",
        subject="航天信息",
        address="2001:db8::1",
        detail={"reason": '"quoted"\n', "count": 3},
    )
    async with primary.transaction():
        await append(primary, SECRET, said)
    (entry,) = await entries(primary, 0, 10)
    assert (entry.seq, entry.at, entry.actor, entry.action, entry.subject, entry.address) == (
        1,
        moment,
        "key 1a2b3c4d",
        "tenant.suspend",
        "航天信息",
        "2001:db8::1",
    )
    assert json.loads(entry.detail) == {"reason": '"quoted"\n', "count": 3}


async def test_entries_come_in_pages(primary: asyncpg.Connection) -> None:
    """A listing begins after a number and has at most as many entries as were asked for."""
    await filled(primary, 5)
    assert [entry.seq for entry in await entries(primary, 1, 3)] == [2, 3, 4]
    assert [entry.seq for entry in await entries(primary, 4, 3)] == [5]


async def test_an_empty_log_is_whole(primary: asyncpg.Connection) -> None:
    """A log without entries has nothing wrong, and its head can be kept as any other."""
    head, fault = await verify(primary, [SECRET])
    assert (head, fault) == (EMPTY, None)
    assert await verify(primary, [SECRET], head) == (EMPTY, None)


async def test_a_log_of_several_pages_is_whole(
    primary: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many pages are read, all that was appended verifies, up to the last entry's MAC."""
    monkeypatch.setattr(audit, "_PAGE", 2)
    await filled(primary, 5)
    *_, last = await entries(primary, 0, 5)
    assert await verify(primary, [SECRET]) == (Head(5, last.mac), None)


async def test_an_act_that_is_rolled_back_leaves_no_entry(primary: asyncpg.Connection) -> None:
    """After a rollback there is neither an entry nor a gap."""
    await filled(primary, 1)
    transaction = primary.transaction()
    await transaction.start()
    await append(primary, SECRET, act(2))
    await transaction.rollback()
    await filled(primary, 1)
    assert [entry.seq for entry in await entries(primary, 0, 9)] == [1, 2]
    assert (await verify(primary, [SECRET])).fault is None


async def test_many_append_at_once(ledger: Database, primary: asyncpg.Connection) -> None:
    """Entries of transactions that are open side by side make one chain without gaps."""

    async def administer(actor: int) -> None:
        async with connected(ledger.primary_dsn) as connection:
            for number in range(10):
                async with connection.transaction():
                    await connection.execute("SELECT 1")
                    await append(connection, SECRET, act(number, f"actor {actor}"))

    await asyncio.gather(*(administer(actor) for actor in range(8)))
    report = await verify(primary, [SECRET])
    assert (report.head.seq, report.fault) == (80, None)
    actors = [entry.actor for entry in await entries(primary, 0, 80)]
    assert {actors.count(f"actor {actor}") for actor in range(8)} == {10}


async def test_an_act_waits_for_its_turn(ledger: Database, primary: asyncpg.Connection) -> None:
    """Who cannot append yet waits for longer than for a row, rather than do the act again."""
    async with connected(ledger.primary_dsn) as first:
        transaction = first.transaction()
        await transaction.start()
        await append(first, SECRET, act(1, "first"))
        await primary.execute("SET lock_timeout = '10ms'")
        second = asyncio.create_task(filled(primary, 1, "second"))
        done, _ = await asyncio.wait({second}, timeout=0.1)
        assert not done
        await transaction.commit()
        await second
    assert [entry.actor for entry in await entries(primary, 0, 9)] == ["first", "second"]


async def test_who_has_appended_and_stops_is_not_waited_for(
    ledger: Database, primary: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that is left open after it has appended is ended, and the next one goes on."""
    monkeypatch.setattr(audit, "_TURN", audit._TURN.replace("'5s'", "'50ms'"))
    async with connected(ledger.primary_dsn) as frozen:
        await frozen.execute("BEGIN")
        await append(frozen, SECRET, act(1, "frozen"))
        async with asyncio.timeout(5):
            await filled(primary, 1)
    assert [entry.actor for entry in await entries(primary, 0, 9)] == ["actor"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET actor = 'nobody'",
        "DELETE FROM audit_entry WHERE seq = 2",
        "TRUNCATE audit_entry",
        f"{COPY} WHERE seq = 1 ON CONFLICT (seq) DO UPDATE SET actor = 'nobody'",
    ],
)
@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_what_is_written_stays(
    primary: asyncpg.Connection, role: str, statement: str
) -> None:
    """The database itself refuses all that would change an entry, and says why."""
    await filled(primary, 2)
    await primary.execute(f"SET session_replication_role = {role}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="audit_entry is append-only: "):
        await primary.execute(statement)
    assert len(await entries(primary, 0, 9)) == 2


async def test_too_much_is_refused(primary: asyncpg.Connection) -> None:
    """An entry of more than 8 KiB does not get in, so that a page of entries fits in memory."""
    async with primary.transaction():
        await append(primary, SECRET, act(1, "a" * 8000))
    with pytest.raises(asyncpg.CheckViolationError, match="audit_entry_size"):
        async with primary.transaction():
            await append(primary, SECRET, act(2, "a" * 8192))


async def test_without_its_table_nothing_is_said(blank: str) -> None:
    """A database that was not migrated is unavailable for every use, not a log without entries."""
    async with connected(blank) as connection:
        for use in (
            verify(connection, [SECRET]),
            entries(connection, 0, 1),
            append(connection, SECRET, act(1)),
        ):
            with pytest.raises(Unavailable, match="no_schema"):
                await use


@pytest.mark.parametrize("seq", [1, 3, COUNT - 1])
@pytest.mark.parametrize(
    "change",
    [
        "at = at + interval '1 microsecond'",
        "at = 'infinity'",
        "at = '4000-01-01 BC'",
        "actor = actor || ' '",
        "actor = ''",
        # What was at the end of one column and is now at the beginning of the next.
        "actor = left(actor, -1), action = right(actor, 1) || action",
        "action = upper(action)",
        "subject = 'another'",
        "subject = NULL",
        "detail = detail || ' '",
        "address = '10.0.0.2'",
        "mac = sha256(mac)",
        "mac = ''",
        "mac = NULL",
    ],
)
async def test_an_altered_entry_is_named(
    primary: asyncpg.Connection, seq: int, change: str
) -> None:
    """Whatever is changed of an entry, it is the one that is named, and those before are whole."""
    await filled(primary, COUNT)
    before = EMPTY if seq == 1 else Head(seq - 1, (await entries(primary, seq - 2, 1))[0].mac)
    async with tampered(primary):
        await primary.execute(f"UPDATE audit_entry SET {change} WHERE seq = {seq}")
    assert await verify(primary, [SECRET]) == (before, Fault("altered", seq, seq))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("DELETE FROM audit_entry WHERE seq = 1", Fault("missing", 1, 1)),
        ("DELETE FROM audit_entry WHERE seq IN (3, 4)", Fault("missing", 3, 4)),
        ("UPDATE audit_entry SET seq = 9 WHERE seq = 2", Fault("missing", 2, 2)),
        (
            f"DELETE FROM audit_entry WHERE seq = 3; {RENUMBER} - 1 WHERE seq > 3",
            Fault("altered", 3, 3),
        ),
        (f"{RENUMBER} * -1 + 7 WHERE seq IN (3, 4)", Fault("reordered", 3, 4)),
        (f"{RENUMBER} * -1 + 7 WHERE seq IN (2, 5)", Fault("reordered", 2, 5)),
        (f"{RENUMBER} * -1 + 11 WHERE seq IN (5, 6)", Fault("reordered", 5, 6)),
        # 2, 3, 4 are now 3, 4, 2, and 4, 2, 3.
        (f"{RENUMBER} + 1 - seq / 4 * 3 WHERE seq IN (2, 3, 4)", Fault("reordered", 2, 3)),
        (f"{RENUMBER} - 1 + 2 / seq * 3 WHERE seq IN (2, 3, 4)", Fault("reordered", 2, 4)),
        # Two that were made up, and a copy.
        (f"{RENUMBER} + 2 WHERE seq > 3; {FORGE} WHERE seq < 3", Fault("inserted", 4, 5)),
        (f"{RENUMBER} + 3 WHERE seq > 3; {COPY} WHERE seq < 4", Fault("inserted", 4, 6)),
        (f"{RENUMBER} - 3", Fault("inserted", -2, -2)),
        (f"{FORGE} WHERE seq > 3", Fault("unsigned", 7, 9)),
        ("UPDATE audit_entry SET actor = 'nobody' WHERE seq = 6", Fault("unsigned", 6, 6)),
        ("UPDATE audit_entry SET actor = 'nobody' WHERE seq IN (2, 3)", Fault("unsigned", 2, 3)),
    ],
)
async def test_what_was_done_is_named(
    primary: asyncpg.Connection, change: str, fault: Fault
) -> None:
    """A removal, a swap, a rotation, an insertion and a forged end are each told as what it is."""
    await filled(primary, COUNT)
    async with tampered(primary):
        await primary.execute(change)
    report = await verify(primary, [SECRET])
    assert report.fault == fault
    assert report.head.seq == max(fault.seq - 1, 0)


async def test_numbers_that_stand_twice_are_found(
    primary: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second entry of the same number is found, also where a page ends between the two."""
    monkeypatch.setattr(audit, "_PAGE", 3)
    await filled(primary, COUNT)
    async with tampered(primary):
        await primary.execute("INSERT INTO audit_entry SELECT * FROM audit_entry WHERE seq = 3")
    assert (await verify(primary, [SECRET])).fault == Fault("inserted", 3, 3)


async def test_a_cut_end_shows_by_a_kept_head(primary: asyncpg.Connection) -> None:
    """That the last entries are gone cannot be seen in the log, but with its head of before."""
    await filled(primary, COUNT)
    head = (await verify(primary, [SECRET])).head
    async with tampered(primary):
        await primary.execute("DELETE FROM audit_entry WHERE seq > 4")
    assert (await verify(primary, [SECRET])).fault is None
    assert (await verify(primary, [SECRET], head)).fault == Fault("missing", 5, 6)


async def test_another_end_shows_by_a_kept_head(primary: asyncpg.Connection) -> None:
    """A head tells also when the end was cut and others have been appended since."""
    await filled(primary, COUNT)
    head = (await verify(primary, [SECRET])).head
    async with tampered(primary):
        await primary.execute("DELETE FROM audit_entry WHERE seq > 4")
    await filled(primary, 4, "later")
    assert (await verify(primary, [SECRET])).fault is None
    assert (await verify(primary, [SECRET], head)).fault == Fault("replaced", 6, 6)


async def test_a_log_that_has_grown_has_its_old_heads(primary: asyncpg.Connection) -> None:
    """A head stays valid however much is appended after it."""
    await filled(primary, 3)
    head = (await verify(primary, [SECRET])).head
    await filled(primary, 3)
    report = await verify(primary, [SECRET], head)
    assert (report.head.seq, report.fault) == (6, None)


async def test_a_wrong_secret_is_told_apart(primary: asyncpg.Connection) -> None:
    """Under another secret no entry is called altered: all are said to be under none given."""
    await filled(primary, COUNT)
    assert await verify(primary, [OTHER]) == (EMPTY, Fault("unsigned", 1, COUNT))


async def test_secrets_may_be_rotated_back_and_forth(primary: asyncpg.Connection) -> None:
    """While workers change over, entries under both secrets follow one another."""
    for secret in (SECRET, OTHER, SECRET, OTHER):
        await filled(primary, 1, secret=secret)
    assert (await verify(primary, [OTHER, SECRET])).fault is None


@pytest.mark.parametrize(("secret", "fault"), [(OTHER, (1, 3)), (SECRET, (4, 6))])
async def test_a_secret_that_is_left_out_is_told(
    primary: asyncpg.Connection, secret: bytes, fault: tuple[int, int]
) -> None:
    """Where a retired or the new secret is left out, the report says which entries lack it."""
    await filled(primary, 3)
    await filled(primary, 3, secret=OTHER)
    assert (await verify(primary, [secret])).fault == ("unsigned", *fault)


def forged(rows: Rows, at: int, from_row: int) -> Rows:
    """Rows with a made-up one between, and the rest renumbered."""
    row = rows[from_row]
    new = [*rows[:at], (row[0], row[1], "forger", *row[3:]), *rows[at:]]
    return [(seq, *row[1:]) for seq, row in enumerate(new, rows[0][0])]


def without(rows: Rows, at: int, closed: int) -> Rows:
    """Rows without one, and the rest renumbered, or not."""
    left = [*rows[:at], *rows[at + 1 :]]
    return [(seq, *row[1:]) for seq, row in enumerate(left, 1)] if closed % 2 else left


def swapped(rows: Rows, one: int, other: int) -> Rows:
    """Rows of which two have changed places."""
    new = list(rows)
    new[one] = (rows[one][0], *rows[other][1:])
    new[other] = (rows[other][0], *rows[one][1:])
    return new


def mixed(rows: Rows, one: int, other: int) -> Rows:
    """Rows of which one has some columns of another."""
    new = list(rows)
    column = 1 + (one + other) % (len(rows[0]) - 1)
    new[one] = (*rows[one][:column], *rows[other][column:])
    return new


Change = Callable[[Rows, int, int], Rows]


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    changes=st.lists(
        st.tuples(
            st.sampled_from([forged, without, swapped, mixed]), st.integers(0, 9), st.integers(0, 9)
        ),
        min_size=1,
        max_size=3,
    ),
)
async def test_the_first_difference_is_found(
    primary: asyncpg.Connection, changes: list[tuple[Change, int, int]]
) -> None:
    """After any changes the first number is named at which the log is not what it was.

    With the head of before, so that nothing can be cut off unseen.
    """
    await emptied(primary)
    await filled(primary, COUNT)
    written = await rows_of(primary)
    head = (await verify(primary, [SECRET])).head
    found = written
    for change, one, other in changes:
        if found:
            found = change(found, one % len(found), other % len(found))
    await replace_all(primary, found)
    report = await verify(primary, [SECRET], head)
    differing = (
        number for number, row in enumerate(written, 1) if found[number - 1 : number] != [row]
    )
    first = next(differing, COUNT + 1 if len(found) > COUNT else None)
    assert (report.fault and report.fault.seq) == first
    assert report.head.seq == (first or COUNT + 1) - 1
