"""Routes become an application, and a shortcut past aiohttp's router.

The router matches the path, makes a match object and freezes it: a tenth of a single question's
time. A request whose path is exactly that of a route goes straight to its handler. Every other
request, and one that waits for ``100 Continue``, takes aiohttp's own way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence

from aiohttp import hdrs, web

from verifier.api.server.boundary import Boundary
from verifier.api.server.route import Handler, Route
from verifier.api.server.shapes import Operation
from verifier.errors import BadRequest


def handlers_of(routes: Sequence[Route], boundary: Boundary) -> dict[tuple[str, str], Handler]:
    """What answers each route, by method and path; ``HEAD`` wherever there is ``GET``."""
    handlers: dict[tuple[str, str], Handler] = {}
    for route in routes:
        handler = handlers[route.method, route.path] = boundary.around(route)
        if route.method == hdrs.METH_GET:
            # aiohttp leaves out the body.
            handlers[hdrs.METH_HEAD, route.path] = handler
    return handlers


def application(
    handlers: Mapping[tuple[str, str], Handler], boundary: Boundary, max_body: int
) -> web.Application:
    """All routes, and one that answers for every other address.

    That last route replaces a middleware, which every request would pay for.
    """
    app = web.Application(client_max_size=max_body)
    for (method, path), handler in handlers.items():
        app.router.add_route(method, path, handler)
    elsewhere = Route("*", "/{tail:.*}", "elsewhere", _elsewhere(app), Operation("", {}))
    app.router.add_route(elsewhere.method, elsewhere.path, boundary.around(elsewhere))
    return app


def shorten(server: web.Server, handlers: Mapping[tuple[str, str], Handler]) -> None:
    """Send requests for the exact path of a route straight to its handler, on new connections."""
    longer = server.request_handler
    # A path with a parameter ({region}) is never that of a request, and stays with the router.
    methods: dict[str, dict[str, Handler]] = {}
    for (method, path), handler in handlers.items():
        methods.setdefault(path, {})[method] = handler
    find, nothing = methods.get, dict[str, Handler]()

    # A plain function: a coroutine would cost every request one more.
    def answer(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        handler = find(request.raw_path, nothing).get(request.method)
        if (
            handler is None
            or hdrs.EXPECT in request.headers
            or not isinstance(request, web.Request)
        ):
            return longer(request)
        return handler(request)

    server.request_handler = answer


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
            raise BadRequest("not_found", request.path)
        expected = f"expected {' or '.join(allowed)}, got {request.method}"
        raise BadRequest(
            "method_not_allowed",
            f"{request.path}: {expected}",
            headers={"Allow": ", ".join(allowed)},
        )

    return elsewhere


async def _leads_to(route: web.AbstractRoute, request: web.Request) -> bool:
    assert route.resource is not None
    other = request.clone(method=route.method)
    match, _ = await route.resource.resolve(other)
    return match is not None
