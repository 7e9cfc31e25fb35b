"""Route: everything that is declared about an endpoint.

The list of routes (api/routes.py) makes the router, the shortcut past it, the OpenAPI document, the
guard's checks and the labels of the metrics.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec
from aiohttp import web

from verifier.access.callers import Caller
from verifier.access.keys import Scope
from verifier.api.server.shapes import Operation
from verifier.wire.messages import Language

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Answers the body of a caller, if there are keys, in a language where its bytes arrive (desk.py):
# the whole response; or None, and later the callback gets what makes it. Raises BadRequest, before
# anything has been done, for what is left to the handler.
AtOnce = Callable[
    [bytes, Caller | None, Language, Callable[[Callable[[], bytes]], object]], bytes | None
]

# What a request costs: one unit, or one for each of its items. Requests that cost nothing are not
# timed.
Cost = Literal["nothing", "one", "items"]


class Route(msgspec.Struct, frozen=True):
    """One endpoint.

    ``name`` labels it in metrics. ``scope`` is what a caller's key has to be good for; without one
    the route is open to everybody. ``media`` are the media types that it accepts; None accepts any.
    ``handler`` may raise BadRequest, Unavailable and ConnectionError, which the boundary answers
    (boundary.py). ``at_once`` answers as the handler does, for requests without any of the fields
    that only that heeds (``heeds``, in small letters).
    """

    method: str
    path: str
    name: str
    handler: Handler
    operation: Operation
    scope: Scope | None = None
    cost: Cost = "nothing"
    media: frozenset[str] | None = None
    at_once: AtOnce | None = None
    heeds: frozenset[str] = frozenset()
