"""The same checks and answers as the service's, for peers that ask the database once a question."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import msgspec

from verifier.invoice.claim import Invalid, Item, Question, raw_keys, reference_of
from verifier.invoice.identity import is_canonical
from verifier.invoice.parsing import parse
from verifier.invoice.verdict import Judgement, agrees, complete_until, invalid, judge, window_at
from verifier.state import Reading
from verifier.wire import records
from verifier.wire.answers import Encoder
from verifier.wire.problems import document as problem
from verifier.wire.records import Record

# What the service reads of an invoice, as one would write it: a row each, a column each.
SELECT = """
SELECT
    key,
    kind::text,
    issue_date::text,
    amount::text,
    tax::text,
    total::text,
    check_code,
    seller_tax_id,
    buyer_tax_id,
    status::text,
    red_letter_of,
    red_letters,
    seller_name,
    buyer_name
FROM invoice
WHERE key
"""
SELECT_ONE = f"{SELECT} = $1::text"
SELECT_MANY = f"{SELECT} = ANY($1::text[])"

# As many as keep one core of PostgreSQL busy, with some to spare.
CONNECTIONS = 8

FetchRow = Callable[[str], Awaitable[Any]]


async def no_reset(_connection: asyncpg.Connection) -> None:
    """Instead of a reset query after each use: nothing here changes a session."""


async def open_pool() -> asyncpg.Pool:
    """A pool that is tuned as its documentation allows.

    All connections are opened at once and kept, statements stay prepared, and no query is sent
    when a connection is given back.
    """
    return await asyncpg.create_pool(
        os.environ["BENCH_DSN"],
        min_size=CONNECTIONS,
        max_size=CONNECTIONS,
        max_queries=10**12,
        max_inactive_connection_lifetime=0.0,
        max_cached_statement_lifetime=0,
        reset=no_reset,
        server_settings={
            "plan_cache_mode": "force_generic_plan",
            "jit": "off",
            "DateStyle": "ISO, YMD",
        },
    )


class Judge:
    """Answers one question with at most one query.

    Answers rest on ``clock``; no region has a watermark in the ledger under test.
    """

    def __init__(self, fetch_row: FetchRow, clock: Callable[[], float] = time.time) -> None:
        self._fetch_row = fetch_row
        self._clock = clock
        self._window = window_at(clock())
        self._encoder = Encoder("0123456789ab")

    async def answer(self, item: Item) -> tuple[int, bytes]:
        """Status and body of the answer to a question as decoded."""
        found: Record | None = None
        key = ""
        if isinstance(item, Question):
            key = raw_keys((item,))[0]
            if is_canonical(key):
                found = await self._load(key)
                if found is not None and agrees(item, found, self._window):
                    return self._encoded(
                        Judgement("match", key, item.reference, record=found), Invalid((), ())
                    )
            given = msgspec.structs.asdict(item)
        elif isinstance(item, Invalid):
            return self._encoded(invalid(item), item)
        else:
            given = dict(item)
        claim = parse(given, self._window.oldest, self._window.today)
        if isinstance(claim, Invalid):
            answer = invalid(claim)
            answer.reference = reference_of(given)
            return self._encoded(answer, claim)
        if claim.key != key:
            found = await self._load(claim.key)
        watermark = complete_until(None, self._clock())
        return self._encoded(judge(claim, found, watermark), Invalid((), ()))

    async def _load(self, key: str) -> Record | None:
        row = await self._fetch_row(key)
        if row is None:
            return None
        *plain, origin, flushes, seller_name, buyer_name = row
        names = map(msgspec.json.encode, (seller_name, buyer_name))
        listed = ",".join([str(len(flushes)), *flushes]) if flushes else ""
        values = [*plain, origin or "", listed, *names, self._reading()]
        return records.build(*values)

    def _reading(self) -> Reading:
        return Reading("primary", self._clock(), {})

    def _encoded(self, answer: Judgement, why: Invalid) -> tuple[int, bytes]:
        if why.errors:
            members = self._encoder.members(answer, "zh")
            return 422, problem("invalid", "zh", "", members)
        answer.reading = self._reading()
        answer.source = "primary"
        return 200, self._encoder.encode(answer, "zh")
