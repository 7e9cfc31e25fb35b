"""Every route: where a request goes. The OpenAPI document holds the same list (a test says so)."""

from __future__ import annotations

from functools import partial

import msgspec
from aiohttp import hdrs, web

from verifier.api import openapi
from verifier.api.health import Health
from verifier.api.ingest import Feeds
from verifier.api.server import problems
from verifier.api.server.guard import JSON_TYPES, NDJSON_TYPES, Guard
from verifier.api.server.readers import Readers
from verifier.api.server.respond import JSON
from verifier.api.server.timing import Handler, timed
from verifier.api.verify.handlers import Handlers
from verifier.api.verify.stream import Streams
from verifier.metrics import Metrics


def table(
    handlers: Handlers,
    streams: Streams,
    feeds: Feeds,
    health: Health,
    guard: Guard,
    readers: Readers,
    metrics: Metrics,
) -> list[tuple[str, str, Handler]]:
    """Method, path and handler of each route. What does the service's work is timed.

    Single questions and batches bound by themselves how long a client may take for the answer.
    """
    time = partial(timed, metrics.requests)

    def ledger(route: str, types: frozenset[str], handler: Handler) -> Handler:
        return time(route, readers.bounded(route, guard.guarded(route, types, handler)))

    def shown(route: str, handler: Handler) -> Handler:
        return readers.bounded(route, handler)

    return [
        ("POST", "/v1/verify", time("verify", handlers.verify)),
        ("POST", "/v1/verify/batch", time("batch", handlers.batch)),
        ("POST", "/v1/verify/stream", time("stream", readers.bounded("stream", streams.stream))),
        ("POST", "/v1/ledger/invoices", ledger("invoices", NDJSON_TYPES, feeds.invoices)),
        ("POST", "/v1/ledger/status", ledger("status", NDJSON_TYPES, feeds.status)),
        (
            "PUT",
            "/v1/ledger/regions/{region}/watermark",
            ledger("watermark", JSON_TYPES, feeds.watermark),
        ),
        ("GET", "/v1/freshness", shown("freshness", health.freshness)),
        ("GET", "/livez", shown("livez", health.livez)),
        ("GET", "/readyz", shown("readyz", health.readyz)),
        ("GET", "/startupz", shown("startupz", health.startupz)),
        ("GET", "/metrics", shown("metrics", health.metrics)),
        ("GET", "/openapi.json", shown("openapi", _document())),
    ]


def add_routes(
    app: web.Application,
    readers: Readers,
    metrics: Metrics,
    routes: list[tuple[str, str, Handler]],
) -> None:
    """Add the routes, HEAD beside GET, and a last one that answers for all other addresses.

    The last route takes the place of a middleware, which every request would pay for.
    """
    for method, path, handler in routes:
        app.router.add_route(method, path, handler)
        if method == hdrs.METH_GET:
            # The server leaves out the body.
            app.router.add_route(hdrs.METH_HEAD, path, handler)
    elsewhere = readers.bounded("elsewhere", _elsewhere(app, metrics))
    app.router.add_route("*", "/{tail:.*}", elsewhere)


def handler_of(app: web.Application, method: str, path: str) -> Handler:
    """The handler of a route."""
    for route in app.router.routes():
        if (
            route.method == method
            and route.resource is not None
            and route.resource.canonical == path
        ):
            return route.handler
    raise LookupError(f"{method} {path}")


def _document() -> Handler:
    body = msgspec.json.encode(openapi.document())

    async def document(_: web.Request) -> web.Response:
        return web.Response(body=body, headers=JSON)

    return document


def _elsewhere(app: web.Application, metrics: Metrics) -> Handler:
    async def elsewhere(request: web.Request) -> web.Response:
        allowed = sorted(
            {
                route.method
                for resource in app.router.resources()
                for route in resource
                if route.method != "*" and await _leads_to(route, request)
            }
        )
        code = "method_not_allowed" if allowed else "not_found"
        metrics.http_errors.add("elsewhere", code)
        if not allowed:
            return problems.problem(request, code, request.path)
        return problems.problem(
            request,
            code,
            f"{request.path}: expected {' or '.join(allowed)}, got {request.method}",
            headers={"Allow": ", ".join(allowed)},
        )

    return elsewhere


async def _leads_to(route: web.AbstractRoute, request: web.Request) -> bool:
    assert route.resource is not None
    other = request.clone(method=route.method)
    match, _ = await route.resource.resolve(other)
    return match is not None
