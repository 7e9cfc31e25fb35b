"""The audit log: what administrators did, append-only, and chained so that a change to it shows.

Each entry carries HMAC-SHA-256(secret, MAC of the entry before || entry). The secret is not in the
database, so that whoever administers that can alter entries, but cannot link what comes after them.
The number of an entry is not in its MAC: the chain itself says what follows what, and so a log that
was renumbered after a removal is wrong in that one place.

What the chain cannot show by itself is that its end is gone. For that an operator keeps a head, how
many entries there were and the MAC of the last, where the database's administrator cannot reach it.

Secrets are rotated: an entry may be under any of those given, and the retired ones are needed for
as long as their entries are. That makes the chain as strong as the weakest of them: a secret that
has leaked, together with the rights of a superuser, is enough to write the whole log anew from
anywhere on. Only a head that was kept before the leak shows that, and only up to its entry: keep
one at every rotation.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import Any, Literal, NamedTuple

import asyncpg
import msgspec
from asyncpg.cursor import CursorFactory

from verifier.database.transactions import translated

# Entries that are read at a time: at most 8 KiB each, some hundred bytes as a rule.
_PAGE = 1000

# One at a time appends, and all others wait for its COMMIT. That takes milliseconds, and to wait is
# cheaper than to do the act again; but one that stops before it must not hold up all others.
_TURN = """
SET LOCAL lock_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = '5s';
SELECT pg_advisory_xact_lock(hashtext('verifier audit'))
"""
_HEAD = "SELECT seq, mac FROM audit_entry ORDER BY seq DESC LIMIT 1"
_APPEND = """
INSERT INTO audit_entry (seq, at, actor, action, subject, detail, address, mac)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
_LIST = """
SELECT seq, at, actor, action, subject, detail, address, mac
FROM audit_entry WHERE seq > $1 ORDER BY seq LIMIT $2
"""
# Each moment in the form that is linked, which has room for what no clock of ours tells.
_LINKS = """
SELECT
    seq,
    timestamptz_send(at) AS at,
    actor, action, subject, detail, address,
    coalesce(mac, '') AS mac
FROM audit_entry WHERE seq >= $1 ORDER BY seq
"""
_LINKED = ("at", "actor", "action", "subject", "detail", "address")
# Below all numbers, also those that only a superuser can give.
_LOWEST = -(1 << 63)

# What the first entry follows.
_START = bytes(32)

# As PostgreSQL sends them: microseconds since 2000, and the length of what comes, -1 for NULL.
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MOMENT = Struct(">q")
_LENGTH = Struct(">i")


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be remembered: who did what to what, when, and from where.

    ``at`` has a time zone; ``address`` is empty where nobody came over the network. ``detail`` is
    what else there is to say, of such values as JSON has. All of it has at most 8 KiB.
    """

    at: datetime
    actor: str
    action: str
    subject: str
    address: str = ""
    detail: Mapping[str, Any] = {}


class Entry(msgspec.Struct, frozen=True):
    """An entry as it is in the log; ``detail`` is JSON."""

    seq: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: str
    address: str
    mac: bytes


class Head(NamedTuple):
    """The number of the last entry, and so how many there are, and its MAC."""

    seq: int
    mac: bytes


EMPTY = Head(0, _START)

# - missing: there are no entries ``seq`` to ``last``.
# - inserted: ``seq`` to ``last`` stand between entries that follow one another.
# - reordered: the entry that belongs at ``seq`` is at ``last``.
# - altered: ``seq`` does not follow the one before, but the next one follows it: it was altered, or
#   what was before it was removed and the rest renumbered.
# - unsigned: ``seq`` to ``last`` fit no secret; they were altered, or made without it.
# - replaced: all follow one another, but ``seq`` is not the head that was kept.
Reason = Literal["missing", "inserted", "reordered", "altered", "unsigned", "replaced"]


class Fault(NamedTuple):
    """The first entry that is wrong, and why."""

    reason: Reason
    seq: int
    last: int


class Report(NamedTuple):
    """The head of what is whole, and what is wrong behind it, if anything is."""

    head: Head
    fault: Fault | None


def audit_secrets(peppers: Sequence[bytes]) -> tuple[bytes, ...]:
    """The secrets of the audit log, made of those that the environment gives, in their order."""
    return tuple(hmac.digest(pepper, b"verifier audit", "sha256") for pepper in peppers)


async def append(connection: asyncpg.Connection, secret: bytes, act: Act) -> None:
    """Append an act to the log; the last thing in the transaction that does it.

    So both are committed, or neither. The transaction is one of the primary, READ COMMITTED. From
    here to its COMMIT nobody else can append, and it is ended by the server if that does not come
    within 5 seconds. Raises Unavailable.
    """
    detail = msgspec.json.encode(act.detail).decode()
    moment = _MOMENT.pack((act.at - _EPOCH) // timedelta(microseconds=1))
    said = (act.actor, act.action, act.subject, detail, act.address)
    with translated():
        await connection.execute(_TURN)
        # A statement of its own: it sees what was committed while the one before waited.
        seq, mac = await connection.fetchrow(_HEAD) or EMPTY
        following = _mac(secret, mac, (moment, *said))
        await connection.execute(_APPEND, seq + 1, act.at, *said, following)


def noting(
    secret: bytes, act: Act
) -> Callable[[asyncpg.Connection, Mapping[str, Any]], Awaitable[None]]:
    """What appends an act as soon as its detail is known."""

    async def note(connection: asyncpg.Connection, detail: Mapping[str, Any]) -> None:
        await append(connection, secret, msgspec.structs.replace(act, detail=detail))

    return note


async def entries(connection: asyncpg.Connection, after: int, limit: int) -> list[Entry]:
    """Up to so many entries above a number, in their order. Raises Unavailable."""
    with translated():
        return [Entry(*row) for row in await connection.fetch(_LIST, after, limit)]


async def verify(
    connection: asyncpg.Connection, secrets: Sequence[bytes], kept: Head = EMPTY
) -> Report:
    """Whether each entry follows the one before under one of the secrets, and ``kept`` is there.

    Reads one state of the log, in pages. Raises Unavailable.
    """
    with translated():
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await _Chain(connection, secrets).report(kept)


def _mac(secret: bytes, previous: bytes, parts: Sequence[bytes | str | None]) -> bytes:
    linked = [previous]
    for part in parts:
        if part is None:  # after the constraints were dropped
            linked.append(_LENGTH.pack(-1))
        else:
            sent = part.encode() if isinstance(part, str) else part
            linked += _LENGTH.pack(len(sent)), sent
    return hmac.digest(secret, b"".join(linked), "sha256")


class _Chain:
    """The log as one transaction sees it."""

    def __init__(self, connection: asyncpg.Connection, secrets: Sequence[bytes]) -> None:
        self._connection = connection
        self._secrets = secrets

    async def report(self, kept: Head) -> Report:
        head = EMPTY
        at_kept = _START
        async for row in self._links(_LOWEST):
            seq, expected = row["seq"], head.seq + 1
            if seq > expected:
                return Report(head, Fault("missing", expected, seq - 1))
            if seq < expected:
                return Report(head, Fault("inserted", seq, seq))
            if not self._follows(head.mac, row):
                return Report(head, await self._fault(head.mac, row))
            head = Head(seq, row["mac"])
            if seq == kept.seq:
                at_kept = head.mac
        if head.seq < kept.seq:
            return Report(head, Fault("missing", head.seq + 1, kept.seq))
        if at_kept != kept.mac:
            return Report(head, Fault("replaced", kept.seq, kept.seq))
        return Report(head, None)

    async def _fault(self, mac: bytes, wrong: asyncpg.Record) -> Fault:
        """Why an entry does not follow the one before, which has this MAC."""
        seq = wrong["seq"]
        moved = await self._follower(mac, seq)
        if moved is None:
            return await self._unexplained(mac, wrong)
        async for row in self._links(seq):
            if self._follows(row["mac"], wrong):
                return Fault("reordered", seq, moved["seq"])
        return Fault("inserted", seq, moved["seq"] - 1)

    async def _follower(self, mac: bytes, since: int) -> asyncpg.Record | None:
        """The first entry from a number on that follows a MAC."""
        async for row in self._links(since):
            if self._follows(mac, row):
                return row
        return None

    async def _unexplained(self, mac: bytes, wrong: asyncpg.Record) -> Fault:
        """What is wrong with an entry whose place no other one can claim."""
        seq = last = wrong["seq"]
        # If only the MAC was altered, the next one follows what it was.
        vouched = {wrong["mac"], *self._macs(mac, wrong)}
        previous = wrong["mac"]
        async for row in self._links(seq + 1):
            if last == seq and any(self._follows(one, row) for one in vouched):
                return Fault("altered", seq, seq)
            if self._follows(previous, row):
                break
            last, previous = row["seq"], row["mac"]
        return Fault("unsigned", seq, last)

    def _links(self, since: int) -> CursorFactory[asyncpg.Record]:
        return self._connection.cursor(_LINKS, since, prefetch=_PAGE)

    def _follows(self, mac: bytes, row: asyncpg.Record) -> bool:
        return row["mac"] in self._macs(mac, row)

    def _macs(self, mac: bytes, row: asyncpg.Record) -> list[bytes]:
        """The MACs that an entry may have which follows another."""
        parts = [row[name] for name in _LINKED]
        return [_mac(secret, mac, parts) for secret in self._secrets]
