"""``GET /v1/usage``: what the caller's tenant has asked, as it is kept in the primary.

There is no such route where nobody needs a key.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec
from aiohttp import web

from verifier.access.reports import LONGEST, Period, Report, Reports, period_of
from verifier.api.server.guard import caller_of
from verifier.api.server.respond import JSON
from verifier.api.server.route import Route
from verifier.api.server.shapes import LANGUAGE, Content, Operation, Parameter, problem, refusal
from verifier.api.server.slots import Slots
from verifier.errors import BadRequest
from verifier.invoice.verdict import SHANGHAI
from verifier.metrics import Metrics
from verifier.wire import members, schemas

# At once, per worker. They take turns with what the worker writes, on one connection, and are not
# to keep that waiting.
_MOST = 4

_NAMES = ("from", "to")


class OwnUsage:
    """Answers tenants from ``reports``; ``wall`` is in seconds of the epoch."""

    def __init__(self, reports: Reports, wall: Callable[[], float], metrics: Metrics) -> None:
        self._reports = reports
        self._wall = wall
        self._slots = Slots("usage", _MOST, metrics)

    def route(self) -> Route:
        """The route of these requests."""
        return Route("GET", "/v1/usage", "usage", self.usage, OPERATION, "verify", "one")

    async def usage(self, request: web.Request) -> web.Response:
        """Some days of the tenant whose key it is."""
        caller = caller_of(request)
        assert caller is not None
        today = datetime.fromtimestamp(self._wall(), SHANGHAI).date()
        period = period_of(*_days(request), today)
        with self._slots.take():
            report = await self._reports.of_tenant(caller.tenant.id, period)
        shown = _shown(caller.tenant.name, period, report)
        return web.Response(body=msgspec.json.encode(shown), headers=JSON)


def _days(request: web.Request) -> tuple[str | None, str | None]:
    """The first and the last day that a request asks for. BadRequest for what else it says."""
    query = request.query
    for name in query:
        if name not in _NAMES:
            raise BadRequest("malformed_period", f"{name}: expected {' and '.join(_NAMES)} only")
        if len(query.getall(name)) > 1:
            raise BadRequest("malformed_period", f"{name}: given twice")
    return query.get("from"), query.get("to")


def _shown(tenant: str, period: Period, report: Report) -> schemas.Usage:
    return schemas.Usage(
        tenant=tenant,
        first=period.first.isoformat(),
        last=period.last.isoformat(),
        days=[
            schemas.UsageDay(
                day=row.day.isoformat(),
                endpoint=row.endpoint,
                verdict=row.verdict,
                questions=row.questions,
            )
            for row in report.rows
        ],
        total=sum(row.questions for row in report.rows),
        as_of=None if report.as_of is None else members.iso(report.as_of.timestamp()),
    )


_DAY = r"^\d{4}-\d{2}-\d{2}$"

OPERATION = Operation(
    "What the tenant of the key has asked",
    {
        200: Content(schemas.Usage, "By day in Shanghai, endpoint and verdict."),
        400: problem("The period is not one of days."),
        404: problem("Nobody needs a key here, so nobody in particular asks."),
        503: refusal("The primary could not be read."),
    },
    description=f"This month's, unless a period of up to {LONGEST} days is asked for.",
    parameters=(
        Parameter("from", "query", "The first day, in Shanghai.", pattern=_DAY),
        Parameter("to", "query", "The last day, today if not given.", pattern=_DAY),
        LANGUAGE,
    ),
)
