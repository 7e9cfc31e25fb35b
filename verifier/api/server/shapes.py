"""Shapes: what a route accepts and returns, for the OpenAPI document (openapi.py)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from verifier.wire import schemas
from verifier.wire.problems import CONTENT_TYPE

JSON = "application/json"
NDJSON = "application/x-ndjson"
TEXT = "text/plain"


class Content(msgspec.Struct, frozen=True):
    """A body of a type, or of any of a tuple of types, in a media type.

    ``for_token`` are the operations that take the token in it as a header.
    """

    type: Any
    description: str = ""
    media: str = JSON
    retry_after: bool = False
    for_token: tuple[str, ...] = ()


class Parameter(msgspec.Struct, frozen=True):
    """A header, a part of the query, or one of the path; the latter is required."""

    name: str
    place: Literal["header", "query", "path"]
    description: str
    pattern: str = ""
    choices: tuple[str, ...] = ()


class Operation(msgspec.Struct, frozen=True):
    """What OpenAPI says of a route; ``responses`` are by HTTP status."""

    summary: str
    responses: dict[int, Content]
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Content | None = None


def problem(description: str) -> Content:
    """A response with a problem document."""
    return Content(schemas.Problem, description, CONTENT_TYPE)


def refusal(description: str) -> Content:
    """The same, with Retry-After."""
    return Content(schemas.Problem, description, CONTENT_TYPE, retry_after=True)


LANGUAGE = Parameter(
    "Accept-Language",
    "header",
    "Language of messages: zh (default) or en. Codes never change.",
)

UNREADABLE = {
    400: problem("The body is not JSON, or not of this shape."),
    408: problem("The body did not arrive in time."),
    413: problem("The body is too large, or holds too many items."),
    415: problem("The body is compressed."),
}
LIMITED = {429: refusal("The key, or its tenant, has asked for more than its limit allows.")}
OVERLOADED = {503: refusal("Refused before any work: overload, or shutting down.")}

# What is said to a request that needs a key.
BY_KEY = {
    401: problem("No key, or not a good one: not ours, expired or revoked."),
    403: problem("The key has not the scope that is needed."),
}

# What the server itself may say to any request (docs/http.md), before it looks at whose it is.
BY_SERVER = {
    400: problem("The request cannot be read."),
    408: problem("The head did not arrive in time, or the body stood still."),
    417: problem("An expectation other than 100-continue."),
    431: problem("The head is too large, or has too many fields."),
    503: refusal("There are too many connections."),
}
