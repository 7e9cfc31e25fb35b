"""Feeding the ledger: invoices, changes of state, watermarks (contract.md §4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime

import msgspec
from aiohttp import ClientPayloadError, web

from verifier.access.audit import Act, noting
from verifier.access.keys import Scope
from verifier.api.server import problems
from verifier.api.server.body import Bodies, receiving
from verifier.api.server.guard import JSON_TYPES, NDJSON_TYPES, caller_of
from verifier.api.server.respond import JSON
from verifier.api.server.route import Cost, Handler, Route
from verifier.api.server.shapes import (
    LANGUAGE,
    NDJSON,
    UNREADABLE,
    Content,
    Operation,
    Parameter,
    problem,
    refusal,
)
from verifier.api.server.slots import Slots
from verifier.config import Requests
from verifier.errors import BadRequest
from verifier.invoice.codes import REGIONS
from verifier.invoice.watermarks import FIELD, out_of_range
from verifier.ledger.ingest.chunks import Blocks, IngestResult
from verifier.ledger.ingest.writer import Note, Writer
from verifier.metrics import Metrics
from verifier.wire import members, schemas
from verifier.wire.lines import Line
from verifier.wire.ndjson import blocks_of_lines
from verifier.wire.problems import CONTENT_TYPE as PROBLEM
from verifier.wire.status_lines import StatusLine
from verifier.wire.strict import UNREADABLE as NO_JSON
from verifier.wire.strict import repeated
from verifier.wire.tokens import Tokens


class _Watermark(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a watermark; a moment without its offset would be a guess."""

    complete_until: datetime


_EXAMPLE = '{"complete_until": "2026-11-23T16:00:00Z"}'

_watermark = msgspec.json.Decoder(_Watermark)


class Ingest:
    """The routes that write the ledger; ``wall`` tells the time in seconds since the epoch.

    With the ``secrets`` of the audit log, what is written is in it. Without keys there are none.
    """

    def __init__(
        self,
        writer: Writer,
        bodies: Bodies,
        tokens: Tokens,
        bounds: Requests,
        metrics: Metrics,
        wall: Callable[[], float],
        secrets: Sequence[bytes],
    ) -> None:
        self._secrets = secrets
        self._writer = writer
        self._bodies = bodies
        self._wall = wall
        self._tokens = tokens
        self._bounds = bounds
        self._lines = metrics.ledger_lines
        self._slots = Slots("feed", bounds.max_feeds, metrics)

    def routes(self) -> list[Route]:
        """The routes that write the ledger."""

        def route(
            method: str, path: str, handler: Handler, operation: Operation, scope: Scope, cost: Cost
        ) -> Route:
            media = NDJSON_TYPES if cost == "items" else JSON_TYPES
            name = path.rpartition("/")[2]
            return Route(method, path, name, handler, operation, scope, cost, media)

        return [
            route("POST", "/v1/ledger/invoices", self.invoices, INVOICES, "ingest", "items"),
            route("POST", "/v1/ledger/status", self.status, STATUS, "ingest", "items"),
            route(
                "PUT",
                "/v1/ledger/regions/{region}/watermark",
                self.watermark,
                WATERMARK,
                "watermark",
                "one",
            ),
        ]

    async def invoices(self, request: web.Request) -> web.Response:
        """Upsert invoices, a line each; all accepted lines commit together."""
        return await self._take_in(request, "invoices", self._writer.ingest)

    async def status(self, request: web.Request) -> web.Response:
        """Change the state of invoices, a line each; all accepted lines commit together."""
        return await self._take_in(request, "status", self._writer.set_status)

    async def watermark(self, request: web.Request) -> web.Response:
        """Say until when a region is complete."""
        region = request.match_info["region"]
        if region not in REGIONS:
            raise BadRequest("unknown_region", f"region: expected one of {' '.join(REGIONS)}")
        moment = _moment(await self._bodies.read(request, self._bounds.max_body))
        if error := out_of_range(moment, self._wall()):
            raise BadRequest(
                "invalid_watermark",
                f"{FIELD}: {moment.isoformat()}; expected {error.expected}",
                members=members.errors_json([error], 0, problems.language(request)),
            )
        note = self._note(request, "ledger.watermark", region)
        moved = await self._writer.set_watermark(region, moment, note)
        shown = {
            "region": region,
            "complete_until": members.iso(moment.timestamp()),
            "moved_back": moved.moved_back,
            "token": self._tokens.issue(moved.position),
        }
        return web.Response(body=msgspec.json.encode(shown), headers=JSON)

    async def _take_in(
        self,
        request: web.Request,
        name: str,
        apply: Callable[[Blocks, Note | None], Awaitable[IngestResult]],
    ) -> web.Response:
        bounds = self._bounds
        note = self._note(request, f"ledger.{name}", "")
        with self._slots.take():
            receive = receiving(request.content, bounds.idle_timeout)
            async with aclosing(blocks_of_lines(receive, bounds.max_line)) as blocks:
                try:
                    fed = await apply(blocks, note)
                except ClientPayloadError as error:
                    raise BadRequest("bad_request", str(error)) from error
            token = self._tokens.issue(fed.position)
        for outcome in ("accepted", "unchanged"):
            self._lines.add(name, outcome, count=getattr(fed, outcome))
        self._lines.add(name, "rejected", count=fed.rejected_count)
        language = problems.language(request)
        shown = {
            "accepted": fed.accepted,
            "unchanged": fed.unchanged,
            "rejected": [
                {"line": each.line, **members.errors_json(each.errors, each.more_errors, language)}
                for each in fed.rejected
            ],
            "rejected_count": fed.rejected_count,
            "token": token,
        }
        if not fed.accepted and not fed.unchanged:
            detail = f"lines rejected: {fed.rejected_count}; expected at least one good line"
            raise BadRequest("nothing_accepted", detail, members=shown)
        return web.Response(body=msgspec.json.encode(shown), headers=JSON)

    def _note(self, request: web.Request, action: str, subject: str) -> Note | None:
        """What notes in the audit log who feeds; None where nobody is known."""
        caller = caller_of(request)
        if caller is None:
            return None
        act = Act(
            at=datetime.fromtimestamp(self._wall(), UTC),
            actor=f"{caller.tenant.name}/{caller.label}",
            action=action,
            subject=subject,
            address=request.remote or "",
        )
        return noting(self._secrets[0], act)


def _moment(body: bytes) -> datetime:
    """The moment in the body of a watermark; BadRequest when it is none."""
    try:
        moment = _watermark.decode(body).complete_until
        names = repeated(body)
    except NO_JSON as error:
        raise BadRequest("malformed_watermark", f"{error}; expected {_EXAMPLE}") from error
    if names:
        raise BadRequest("malformed_watermark", f"{names[0]}: given twice; expected {_EXAMPLE}")
    if moment.tzinfo is None:
        raise BadRequest(
            "malformed_watermark",
            f"{FIELD}: {moment.isoformat()}; expected Z or an offset such as +08:00 at the end",
        )
    return moment


_KEPT_OUT = {
    403: problem("Another site's page asks, or the ledger is not exposed on this host."),
    415: problem("The body is compressed, or of another media type."),
}
# The operations that take what a feed gives.
_ASK_WITH_TOKEN = ("/v1/verify", "/v1/verify/batch", "/v1/verify/stream")
_FED = {
    200: Content(schemas.Fed, "What became of the lines.", for_token=_ASK_WITH_TOKEN),
    422: Content(schemas.NothingAccepted, "No line was accepted or unchanged.", PROBLEM),
    **_KEPT_OUT,
    503: refusal("The primary could not be written; nothing was committed."),
}
INVOICES = Operation(
    "Feed invoices to the ledger, a line each",
    _FED,
    parameters=(LANGUAGE,),
    body=Content(Line, media=NDJSON),
)
STATUS = Operation(
    "Change the state of invoices, a line each",
    _FED,
    parameters=(LANGUAGE,),
    body=Content(StatusLine, media=NDJSON),
)
WATERMARK = Operation(
    "Say until when a region is complete",
    {
        200: Content(schemas.WatermarkSet, "The watermark as stored.", for_token=_ASK_WITH_TOKEN),
        404: problem("There is no such region."),
        422: problem("The moment is in the future, or before 2000."),
        503: refusal("The primary could not be written."),
        **UNREADABLE,
        **_KEPT_OUT,
    },
    parameters=(
        Parameter("region", "path", "A 4-digit region code.", choices=tuple(sorted(REGIONS))),
        LANGUAGE,
    ),
    body=Content(schemas.Watermark),
)
