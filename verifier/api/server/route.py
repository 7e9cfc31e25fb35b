"""Route: all that is said of an endpoint, in one place.

From the list of them (api/routes.py) come the router, the way past it, the OpenAPI document, what
guards them and what their requests are counted by.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec
from aiohttp import web

from verifier.api.server.shapes import Operation

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# What a caller must be allowed to; None is for everybody.
Scope = Literal["verify", "ingest", "watermark"]

# What a request costs: as much as one question, or as many as it has items. What costs nothing is
# not timed.
Cost = Literal["nothing", "one", "items"]


class Route(msgspec.Struct, frozen=True):
    """One endpoint.

    ``name`` is its label in metrics; ``media`` are the types of the bodies that it takes, None
    when it does not look. ``handler`` raises BadRequest, Unavailable and ConnectionError, which
    the boundary (boundary.py) answers.
    """

    method: str
    path: str
    name: str
    handler: Handler
    operation: Operation
    scope: Scope | None = None
    cost: Cost = "nothing"
    media: frozenset[str] | None = None
