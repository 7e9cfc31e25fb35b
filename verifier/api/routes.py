"""Every route: where a request goes. The OpenAPI document holds the same list (a test says so)."""

from __future__ import annotations

from functools import partial

import msgspec
from aiohttp import web

from verifier.api import openapi, problems
from verifier.api.feeds import Feeds
from verifier.api.handlers import Handlers
from verifier.api.health import Health
from verifier.api.respond import JSON
from verifier.api.stream import Streams
from verifier.api.timing import Handler, timed
from verifier.metrics import Metrics


def table(
    handlers: Handlers, streams: Streams, feeds: Feeds, health: Health, metrics: Metrics
) -> list[tuple[str, str, Handler]]:
    """Method, path and handler of each route. What does the service's work is timed."""
    time = partial(timed, metrics.requests)
    return [
        ("POST", "/v1/verify", time("verify", handlers.verify)),
        ("POST", "/v1/verify/batch", time("batch", handlers.batch)),
        ("POST", "/v1/verify/stream", time("stream", streams.stream)),
        ("POST", "/v1/ledger/invoices", time("invoices", feeds.invoices)),
        ("POST", "/v1/ledger/status", time("status", feeds.status)),
        ("PUT", "/v1/ledger/regions/{region}/watermark", time("watermark", feeds.watermark)),
        ("GET", "/v1/freshness", health.freshness),
        ("GET", "/livez", health.livez),
        ("GET", "/readyz", health.readyz),
        ("GET", "/startupz", health.startupz),
        ("GET", "/metrics", health.metrics),
        ("GET", "/openapi.json", _document()),
    ]


def add_routes(app: web.Application, routes: list[tuple[str, str, Handler]]) -> None:
    """Add the routes, and a last one that answers for all other addresses.

    The last route takes the place of a middleware, which every request would pay for.
    """
    for method, path, handler in routes:
        app.router.add_route(method, path, handler)
    app.router.add_route("*", "/{tail:.*}", _elsewhere(app))


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


def _elsewhere(app: web.Application) -> Handler:
    async def elsewhere(request: web.Request) -> web.Response:
        allowed = sorted(
            {
                route.method
                for resource in app.router.resources()
                for route in resource
                if route.method != "*" and await _leads_to(route, request)
            }
        )
        if not allowed:
            return problems.problem(request, "not_found", request.path)
        return problems.problem(
            request,
            "method_not_allowed",
            f"{request.path}: expected {' or '.join(allowed)}, got {request.method}",
            headers={"Allow": ", ".join(allowed)},
        )

    return elsewhere


async def _leads_to(route: web.AbstractRoute, request: web.Request) -> bool:
    assert route.resource is not None
    other = request.clone(method=route.method)
    match, _ = await route.resource.resolve(other)
    return match is not None
