"""From routes to an application, and to the way past aiohttp's router that most requests take.

The router matches the path, makes a match object and freezes it, which costs a single question a
tenth of its time. A request for exactly a route's path goes to its handler at once; every other
one, and one that waits for ``100 Continue``, takes aiohttp's own way.
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
            # The server leaves out the body.
            handlers[hdrs.METH_HEAD, route.path] = handler
    return handlers


def application(
    handlers: Mapping[tuple[str, str], Handler], boundary: Boundary, max_body: int
) -> web.Application:
    """All routes, and a last one that answers for all other addresses.

    The last route takes the place of a middleware, which every request would pay for.
    """
    app = web.Application(client_max_size=max_body)
    for (method, path), handler in handlers.items():
        app.router.add_route(method, path, handler)
    elsewhere = Route("*", "/{tail:.*}", "elsewhere", _elsewhere(app), Operation("", {}))
    app.router.add_route(elsewhere.method, elsewhere.path, boundary.around(elsewhere))
    return app


def shorten(server: web.Server, handlers: Mapping[tuple[str, str], Handler]) -> None:
    """Have requests for a route's very path answered by its handler, on new connections."""
    longer = server.request_handler
    # By path first: nearly all requests are for one of them. One with a parameter is none's.
    methods: dict[str, dict[str, Handler]] = {}
    for (method, path), handler in handlers.items():
        methods.setdefault(path, {})[method] = handler
    find, nothing = methods.get, dict[str, Handler]()

    # No coroutine of its own, which every request would pay for.
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
