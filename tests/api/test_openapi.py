"""Tests of what the OpenAPI document says of the types that routes take."""

from __future__ import annotations

import pytest
from aiohttp import web

from verifier.api.openapi import document
from verifier.api.server.route import Route
from verifier.api.server.shapes import Content, Operation
from verifier.invoice.claim import FIELDS, Question


async def handler(_: web.Request) -> web.Response:
    """Answer nothing."""
    return web.Response()


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_amounts_may_be_json_numbers(field: str) -> None:
    """The schema of a question says so of ``amount`` and ``total``, and of no other field."""
    operation = Operation("asks", {}, body=Content(Question))
    said = document([Route("POST", "/ask", "ask", handler, operation)])
    shape = said["components"]["schemas"]["Question"]["properties"][field]
    types = [each["type"] for each in shape["anyOf"]]
    assert types == ["string", "null", *(["number"] if field in {"amount", "total"} else [])]
    assert not any(name.startswith("x-") for name in shape)
