"""The OpenAPI 3.1 document, made from what each route says of itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from aiohttp import web

import verifier
from verifier.api.server.guard import API_KEY
from verifier.api.server.respond import JSON
from verifier.api.server.route import Route
from verifier.api.server.shapes import BY_KEY, BY_SERVER, Content, Operation, Parameter
from verifier.invoice.claim import ALSO
from verifier.wire.tokens import HEADER as TOKEN

_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds"}}
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "ivk_live_…"},
    "key": {"type": "apiKey", "in": "header", "name": str(API_KEY)},
}
_REF = "#/components/schemas/{name}"


def route(others: Sequence[Route], *, keyed: bool) -> Route:
    """The route of the document of the other routes and of itself; ``keyed`` if keys are needed."""

    async def openapi(_: web.Request) -> web.Response:
        return web.Response(body=body, headers=JSON)

    itself = Route("GET", "/openapi.json", "openapi", openapi, OPERATION)
    body = msgspec.json.encode(document([*others, itself], keyed=keyed))
    return itself


def document(routes: Sequence[Route], *, keyed: bool) -> dict[str, Any]:
    """The OpenAPI document of some routes as a JSON-serialisable mapping.

    ``keyed`` says whether callers need a key.
    """
    types = dict.fromkeys(type_ for each in routes for type_ in _types(each.operation))
    shapes, components = msgspec.json.schema_components(list(types), ref_template=_REF)
    _take_also(components)
    schemas = dict(zip(types, shapes, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for each in routes:
        method = each.method.lower()
        paths.setdefault(each.path, {})[method] = {
            "operationId": f"{method}_{each.path.strip('/').replace('/', '_').replace('.', '_')}",
            **_operation(each, schemas, keyed=keyed),
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "verifier",
            "version": verifier.__version__,
            "summary": "Is this invoice genuine, and does it say what I hold?",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            **({"securitySchemes": _SCHEMES} if keyed else {}),
        },
    }


def _id_of(method: str, path: str) -> str:
    return f"{method}_{path.strip('/').replace('/', '_').replace('.', '_')}"


def _take_also(components: dict[str, Any]) -> None:
    """Put what fields take beside their type where a reader of the document looks for it."""
    for component in components.values():
        for shape in component.get("properties", {}).values():
            if ALSO in shape:
                shape["anyOf"] += shape.pop(ALSO)


def _types(operation: Operation) -> Iterable[Any]:
    contents = [*operation.responses.values(), *BY_SERVER.values()]
    if operation.body is not None:
        contents.append(operation.body)
    for content in contents:
        yield from content.type if isinstance(content.type, tuple) else (content.type,)


def _operation(route: Route, schemas: dict[Any, Any], *, keyed: bool) -> dict[str, Any]:
    operation = route.operation
    by_others = dict(BY_SERVER)
    said: dict[str, Any] = {"summary": operation.summary}
    if keyed and route.scope is not None:
        said["security"] = [{name: []} for name in _SCHEMES]
        by_others |= BY_KEY
    if operation.description:
        said["description"] = operation.description
    if operation.parameters:
        said["parameters"] = [_parameter(each) for each in operation.parameters]
    if operation.body is not None:
        said["requestBody"] = {"required": True, **_content(operation.body, schemas)}
    said["responses"] = {
        str(status): _response(operation.responses.get(status), by_others.get(status), schemas)
        for status in sorted({*operation.responses, *by_others})
    }
    return said


def _response(
    own: Content | None, by_others: Content | None, schemas: dict[Any, Any]
) -> dict[str, Any]:
    """What an operation says with a status, what those before it do, or either."""
    both = [content for content in (own, by_others) if content is not None]
    return {
        "description": " ".join(dict.fromkeys(each.description for each in both)),
        # The operation's own shape where both have the same media type.
        "content": {
            media: content
            for each in reversed(both)
            for media, content in _content(each, schemas)["content"].items()
        },
        **({"headers": _RETRY_AFTER} if any(each.retry_after for each in both) else {}),
        **({"links": _links(own.for_token)} if own is not None and own.for_token else {}),
    }


def _links(paths: Iterable[str]) -> dict[str, Any]:
    """Where the token of a response may be used."""
    return {
        path.rpartition("/")[2]: {
            "operationId": _id_of("post", path),
            "parameters": {f"header.{TOKEN}": "$response.body#/token"},
        }
        for path in paths
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if parameter.pattern:
        schema["pattern"] = parameter.pattern
    if parameter.choices:
        schema["enum"] = parameter.choices
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.description,
        "schema": schema,
    }


def _content(content: Content, schemas: dict[Any, Any]) -> dict[str, Any]:
    several = isinstance(content.type, tuple)
    schema = (
        {"anyOf": [schemas[each] for each in content.type]} if several else schemas[content.type]
    )
    return {"content": {content.media: {"schema": schema}}}


OPERATION = Operation("This document", {200: Content(dict, "OpenAPI 3.1.")})
