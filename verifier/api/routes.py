"""Every route: where a request goes. The OpenAPI document holds the same list (a test says so)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from verifier.api import openapi, problems
from verifier.api.feeds import Feeds
from verifier.api.handlers import Handlers
from verifier.api.health import Health
from verifier.api.respond import JSON
from verifier.api.stream import Streams

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def table(
    handlers: Handlers, streams: Streams, feeds: Feeds, health: Health
) -> list[tuple[str, str, Handler]]:
    """Method, path and handler of each route."""
    return [
        ("POST", "/v1/verify", handlers.verify),
        ("POST", "/v1/verify/batch", handlers.batch),
        ("POST", "/v1/verify/stream", streams.stream),
        ("POST", "/v1/ledger/invoices", feeds.invoices),
        ("POST", "/v1/ledger/status", feeds.status),
        ("PUT", "/v1/ledger/regions/{region}/watermark", feeds.watermark),
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
