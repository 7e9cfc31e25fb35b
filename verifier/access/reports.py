"""What was asked on some days, as a tenant sees its own and operators see everybody's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import date, datetime

import asyncpg
import msgspec

from verifier.database.primary import Primary
from verifier.database.tenancy import as_every_tenant, as_tenant
from verifier.database.transactions import translated
from verifier.errors import BadRequest, ConfigError

# A year of all endpoints and verdicts is some thousands of rows.
LONGEST = 366

# Row-level security alone would do, but finds nothing by an index.
_OF_TENANT = """
SELECT t.name, u.day, u.endpoint, u.verdict, u.questions
FROM usage AS u JOIN tenant AS t ON t.id = u.tenant
WHERE u.tenant = $1 AND u.day BETWEEN $2 AND $3
ORDER BY u.day, u.endpoint, u.verdict
"""

_OF_TENANTS = """
SELECT t.name, u.day, u.endpoint, u.verdict, u.questions
FROM tenant AS t JOIN usage AS u ON u.tenant = t.id
WHERE ($1::text IS NULL OR t.name = $1) AND u.day BETWEEN $2 AND $3
ORDER BY t.name, u.day, u.endpoint, u.verdict
"""

_IS_THERE = "SELECT EXISTS (SELECT FROM tenant WHERE name = $1)"
_AS_OF = "SELECT max(at) FROM access_worker"


class Period(msgspec.Struct, frozen=True):
    """Days in Shanghai, the first and the last included."""

    first: date
    last: date


class UsageRow(msgspec.Struct, frozen=True):
    """How many questions of a tenant an endpoint answered so on a day."""

    tenant: str
    day: date
    endpoint: str
    verdict: str
    questions: int


class Report(msgspec.Struct, frozen=True):
    """All rows of a period; ``as_of`` is when a worker last wrote what it had counted, if any."""

    rows: Sequence[UsageRow]
    as_of: datetime | None


class Reports:
    """Reads them from the primary. Every method raises Unavailable for what the database raises."""

    def __init__(self, primary: Primary) -> None:
        self._primary = primary

    async def of_tenant(self, tenant: int, period: Period) -> Report:
        """A tenant's own."""
        async with self._primary.transaction() as transaction:
            with translated():
                await as_tenant(transaction.connection, tenant)
                report = await _report(transaction.connection, _OF_TENANT, tenant, period)
            await self._primary.commit(transaction)
        return report

    async def of_tenants(self, name: str | None, period: Period) -> Report:
        """Those of the tenant of a name, or of all. ConfigError when there is no such tenant."""
        async with self._primary.transaction() as transaction:
            with translated():
                await as_every_tenant(transaction.connection)
                if name is not None and not await transaction.connection.fetchval(_IS_THERE, name):
                    raise ConfigError(
                        f"there is no tenant {name}; expected one of `verifier tenants list`"
                    )
                report = await _report(transaction.connection, _OF_TENANTS, name, period)
            await self._primary.commit(transaction)
        return report


def period_of(first: str | None, last: str | None, today: date) -> Period:
    """The days that two ISO dates, ``from`` and ``to``, say: this month's until today without them.

    ``from`` alone is meant until today, ``to`` alone from the beginning of its month. BadRequest,
    ``malformed_period``, names what is wrong.
    """
    until = today if last is None else _day("to", last)
    since = until.replace(day=1) if first is None else _day("from", first)
    if since > until:
        raise BadRequest(
            "malformed_period", f"from: {since}; expected no day after {until}, the last"
        )
    if (until - since).days >= LONGEST:
        raise BadRequest(
            "malformed_period", f"from: {since}; expected {LONGEST} days at most, to {until}"
        )
    return Period(since, until)


def _day(name: str, text: str) -> date:
    with suppress(ValueError):
        day = date.fromisoformat(text)
        # Python takes weeks, and dates without hyphens, too.
        if day.isoformat() == text:
            return day
    raise BadRequest("malformed_period", f"{name}: expected a day like 2026-11-01, got {text!r}")


async def _report(
    connection: asyncpg.Connection, sql: str, of: int | str | None, period: Period
) -> Report:
    as_of = await connection.fetchval(_AS_OF)
    rows = await connection.fetch(sql, of, period.first, period.last)
    return Report([UsageRow(*row) for row in rows], as_of)
