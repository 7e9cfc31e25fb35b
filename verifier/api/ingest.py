"""Feeding the ledger: invoices, changes of state, watermarks (contract.md §4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import datetime

import msgspec
from aiohttp import ClientPayloadError, web

from verifier.api.server import problems
from verifier.api.server.body import Bodies, receiving
from verifier.api.server.respond import JSON
from verifier.config import Config
from verifier.errors import BadRequest, Unavailable
from verifier.invoice.codes import REGIONS
from verifier.invoice.fields import FieldError
from verifier.invoice.watermarks import FIELD, out_of_range
from verifier.ledger.ingest.chunks import Blocks, FeedResult
from verifier.ledger.ingest.writer import Writer
from verifier.metrics import Metrics
from verifier.wire import members
from verifier.wire.ndjson import blocks_of_lines
from verifier.wire.strict import UNREADABLE, repeated
from verifier.wire.tokens import Tokens


class _Watermark(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a watermark; a moment without its offset would be a guess."""

    complete_until: datetime


_EXAMPLE = '{"complete_until": "2026-11-23T16:00:00Z"}'

_watermark = msgspec.json.Decoder(_Watermark)


class Feeds:
    """The routes under ``/v1/ledger``; ``wall`` tells the time in seconds since the epoch."""

    def __init__(
        self,
        writer: Writer,
        bodies: Bodies,
        tokens: Tokens,
        config: Config,
        metrics: Metrics,
        wall: Callable[[], float],
    ) -> None:
        self._writer = writer
        self._bodies = bodies
        self._wall = wall
        self._tokens = tokens
        self._config = config
        self._metrics = metrics
        self._under_way = 0
        metrics.in_progress.labels("feed").set_function(lambda: self._under_way)

    async def invoices(self, request: web.Request) -> web.Response:
        """Upsert invoices, a line each; all accepted lines commit together."""
        return await self._feed(request, "invoices", self._writer.ingest)

    async def status(self, request: web.Request) -> web.Response:
        """Change the state of invoices, a line each; all accepted lines commit together."""
        return await self._feed(request, "status", self._writer.set_status)

    async def watermark(self, request: web.Request) -> web.Response:
        """Say until when a region is complete."""
        region = request.match_info["region"]
        try:
            if region not in REGIONS:
                raise BadRequest("unknown_region", f"region: expected one of {' '.join(REGIONS)}")
            body = await self._bodies.read(request, self._config.max_body)
            moment = _moment(body)
            if error := out_of_range(moment, self._wall()):
                return self._refuse_moment(request, moment, error)
            moved = await self._writer.set_watermark(region, moment)
            token = self._tokens.issue(moved.timeline, moved.lsn)
        except (BadRequest, Unavailable) as error:
            return self._refuse(request, "watermark", error)
        shown = {
            "region": region,
            "complete_until": members.iso(moment.timestamp()),
            "moved_back": moved.moved_back,
            "token": token,
        }
        return web.Response(body=msgspec.json.encode(shown), headers=JSON)

    async def _feed(
        self, request: web.Request, name: str, apply: Callable[[Blocks], Awaitable[FeedResult]]
    ) -> web.Response:
        config = self._config
        if self._under_way >= config.max_feeds:
            return self._refuse(request, name, Unavailable("overloaded"))
        self._under_way += 1
        try:
            receive = receiving(request.content, config.idle_timeout)
            blocks = blocks_of_lines(receive, config.max_line)
            async with aclosing(blocks):
                fed = await apply(blocks)
            token = self._tokens.issue(fed.timeline, fed.lsn)
        except (BadRequest, Unavailable) as error:
            return self._refuse(request, name, error)
        except ClientPayloadError as error:
            return self._refuse(request, name, BadRequest("bad_request", str(error)))
        finally:
            self._under_way -= 1
        for outcome in ("accepted", "unchanged"):
            self._metrics.ledger_lines.add(name, outcome, count=getattr(fed, outcome))
        self._metrics.ledger_lines.add(name, "rejected", count=fed.rejected_count)
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
            self._metrics.http_errors.add(name, "nothing_accepted")
            detail = f"expected at least one good line, got {fed.rejected_count} bad ones"
            return problems.problem(request, "nothing_accepted", detail, members=shown)
        return web.Response(body=msgspec.json.encode(shown), headers=JSON)

    def _refuse(
        self, request: web.Request, route: str, error: BadRequest | Unavailable
    ) -> web.Response:
        self._metrics.http_errors.add(route, error.code)
        return problems.of_error(request, error)

    def _refuse_moment(
        self, request: web.Request, moment: datetime, error: FieldError
    ) -> web.Response:
        code = "invalid_watermark"
        self._metrics.http_errors.add("watermark", code)
        shown = members.errors_json([error], 0, problems.language(request))
        detail = f"{FIELD}: {moment.isoformat()}; expected {error.expected}"
        return problems.problem(request, code, detail, members=shown)


def _moment(body: bytes) -> datetime:
    """The moment in the body of a watermark; BadRequest when it is none."""
    try:
        moment = _watermark.decode(body).complete_until
        names = repeated(body)
    except UNREADABLE as error:
        raise BadRequest("malformed_watermark", f"{error}; expected {_EXAMPLE}") from error
    if names:
        raise BadRequest("malformed_watermark", f"{names[0]}: given twice; expected {_EXAMPLE}")
    if moment.tzinfo is None:
        raise BadRequest(
            "malformed_watermark",
            f"{FIELD}: {moment.isoformat()}; expected Z or an offset such as +08:00 at the end",
        )
    return moment
