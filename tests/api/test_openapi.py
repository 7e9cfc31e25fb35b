"""Tests of what the OpenAPI document says of the types that routes take."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from verifier.api.openapi import document
from verifier.api.server.route import Route
from verifier.api.server.shapes import Content, Operation
from verifier.invoice.claim import FIELDS, Question


async def handler(_: web.Request) -> web.Response:
    """Answer nothing."""
    return web.Response()


def shape_of(field: str) -> dict[str, Any]:
    """What the document of a route that takes a question says of one field."""
    operation = Operation("asks", {}, body=Content(Question))
    said = document([Route("POST", "/ask", "ask", handler, operation)])
    shape: dict[str, Any] = said["components"]["schemas"]["Question"]["properties"][field]
    return shape


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_amounts_may_be_json_numbers(field: str) -> None:
    """The schema of a question says so of ``amount`` and ``total``, and of no other field."""
    shape = shape_of(field)
    types = [each["type"] for each in shape["anyOf"]]
    assert types == ["string", "null", *(["number"] if field in {"amount", "total"} else [])]
    assert not any(name.startswith("x-") for name in shape)


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_each_field_is_explained(field: str) -> None:
    """The schema says what it is and shows an example, which is a text."""
    shape = shape_of(field)
    where = shape if "description" in shape else shape["anyOf"][0]
    assert where["description"]
    assert [type(each) for each in where["examples"]] == [str]
