"""Whether the process lives, has started and can answer; its metrics; how fresh the ledger is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from verifier.api.server.respond import JSON
from verifier.api.server.route import Route
from verifier.api.server.shapes import TEXT, Content, Operation, refusal
from verifier.ledger.lookup.status import Status
from verifier.metrics.exposition import Exposition
from verifier.wire import members, schemas


class Health:
    """The health routes.

    ``serving`` says if any database answers, ``trusted`` if one shows a state within the
    staleness bound, ``status`` describes them; ``auth`` is whether callers need a key.
    """

    def __init__(
        self,
        exposition: Exposition,
        serving: Callable[[], bool],
        trusted: Callable[[], bool],
        status: Callable[[], Status],
        auth: Literal["on", "off"],
    ) -> None:
        self._exposition = exposition
        self._serving = serving
        self._trusted = trusted
        self._status = status
        self._auth = auth
        self.started = False
        self.draining = False

    def routes(self) -> list[Route]:
        """The routes of health and numbers."""
        return [
            Route("GET", "/v1/freshness", "freshness", self.freshness, FRESHNESS, "verify"),
            Route("GET", "/livez", "livez", self.livez, LIVEZ),
            Route("GET", "/readyz", "readyz", self.readyz, READYZ),
            Route("GET", "/startupz", "startupz", self.startupz, STARTUPZ),
            Route("GET", "/metrics", "metrics", self.metrics, METRICS, "metrics"),
        ]

    async def livez(self, _: web.Request) -> web.Response:
        """The event loop turns; never asks a database, whose failure a restart does not cure."""
        return _state(True, "live")

    async def startupz(self, _: web.Request) -> web.Response:
        """The process has finished its start."""
        return _state(self.started, "started")

    async def readyz(self, _: web.Request) -> web.Response:
        """The process takes questions: it has started, does not drain, and some database serves."""
        reasons = [
            reason
            for reason, holds in (
                ("starting", not self.started),
                ("draining", self.draining),
                ("no_database", not self._serving()),
                ("stale", self._serving() and not self._trusted()),
            )
            if holds
        ]
        return _state(
            not reasons, "ready", reasons, **({} if self._auth == "on" else {"auth": "off"})
        )

    async def metrics(self, _: web.Request) -> web.Response:
        """All metrics of all workers in the Prometheus text format. Raises Unavailable."""
        text = await self._exposition.text()
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def freshness(self, _: web.Request) -> web.Response:
        """Per region the watermark; per database its role, lag and whether it serves."""
        return web.Response(body=msgspec.json.encode(_report(self._status())), headers=JSON)


def _report(status: Status) -> schemas.FreshnessReport:
    """The status as the API says it: moments as text, seconds to the millisecond."""
    regions = [
        schemas.RegionFreshness(
            region=region.region,
            name=region.name,
            complete_until=members.iso(region.complete_until),
            set=region.stated,
        )
        for region in status.regions
    ]
    databases = [
        schemas.Database(
            name=database.name,
            role=database.role,
            serving=database.serving,
            lag_bytes=database.lag_bytes,
            lag_seconds=None if database.lag_seconds is None else round(database.lag_seconds, 3),
        )
        for database in status.databases
    ]
    return schemas.FreshnessReport(trusted=status.trusted, regions=regions, databases=databases)


def _state(holds: bool, name: str, reasons: list[str] | None = None, **more: str) -> web.Response:
    body = msgspec.json.encode({name: holds, **({"reasons": reasons} if reasons else {}), **more})
    return web.Response(status=200 if holds else 503, body=body, headers=JSON)


FRESHNESS = Operation(
    "Watermarks by region, lag by database",
    {200: Content(schemas.FreshnessReport, "As last seen.")},
)
LIVEZ = Operation("Is the process alive?", {200: Content(dict, "Yes.")})
READYZ = Operation(
    "Does the process take questions?",
    {200: Content(dict, "Yes."), 503: Content(dict, "No, and why.")},
)
STARTUPZ = Operation(
    "Has the process started?",
    {200: Content(dict, "Yes."), 503: Content(dict, "Not yet.")},
)
METRICS = Operation(
    "Prometheus metrics",
    {
        200: Content(str, "Text format.", TEXT),
        503: refusal("The supervisor did not tell them in time."),
    },
    description="Of all workers: counters and histograms added up, gauges by worker.",
)
