"""Tests of what the OpenAPI document says of the types that routes take."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from verifier.api.openapi import document
from verifier.api.server.route import Route
from verifier.api.server.shapes import BY_SERVER, JSON, Content, Operation, Parameter, problem
from verifier.invoice.claim import FIELDS, Question
from verifier.wire.problems import CONTENT_TYPE


async def handler(_: web.Request) -> web.Response:
    """Answer nothing."""
    return web.Response()


def shape_of(field: str) -> dict[str, Any]:
    """What the document of a route that takes a question says of one field."""
    operation = Operation("asks", {}, body=Content(Question))
    said = document([Route("POST", "/ask", "ask", handler, operation)], keyed=False)
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


def responses(own: dict[int, Content]) -> dict[str, Any]:
    """What the document says of the responses of an operation."""
    said = document([Route("GET", "/it", "it", handler, Operation("tells", own))], keyed=False)
    found: dict[str, Any] = said["paths"]["/it"]["get"]["responses"]
    return found


def test_what_the_server_itself_refuses_is_said_of_each_operation() -> None:
    """A head that cannot be read is refused before anybody knows whose request it is."""
    said = responses({200: Content(dict, "Yes.")})
    assert said.keys() == {"200", *map(str, BY_SERVER)}
    assert said["503"]["headers"].keys() == {"Retry-After"}
    assert all(CONTENT_TYPE in said[str(status)]["content"] for status in BY_SERVER)


def test_an_operation_may_use_the_same_statuses() -> None:
    """Its shape and the server's both stand, each with its media type, and both reasons."""
    said = responses({503: Content(dict, "Not yet."), 400: problem("Not like this.")})
    assert said["503"]["content"].keys() == {JSON, CONTENT_TYPE}
    assert said["503"]["description"].startswith("Not yet. ")
    assert said["400"]["description"].startswith("Not like this. ")


def test_a_token_leads_to_the_operations_that_take_it() -> None:
    """A link names the operation and the header, for whoever follows the document."""
    said = responses({200: Content(dict, "Fed.", for_token=("/v1/verify",))})
    assert said["200"]["links"] == {
        "verify": {
            "operationId": "post_v1_verify",
            "parameters": {"header.Consistency-Token": "$response.body#/token"},
        }
    }
    assert not any("links" in each for status, each in said.items() if status != "200")


def test_a_parameter_may_be_one_of_a_few() -> None:
    """The document lists them, as region codes."""
    region = Parameter("region", "path", "A region.", choices=("1100", "1200"))
    operation = Operation("sets", {}, parameters=(region,))
    said = document([Route("PUT", "/{region}", "it", handler, operation)], keyed=False)
    (parameter,) = said["paths"]["/{region}"]["put"]["parameters"]
    assert parameter["schema"] == {"type": "string", "enum": ("1100", "1200")}


def test_who_needs_a_key_is_told_how_and_what_comes_of_it() -> None:
    """A route with a scope has both schemes, and what is answered without a good key."""
    routes = [
        Route("POST", "/ask", "ask", handler, Operation("asks", {}), "verify", "one"),
        Route("PUT", "/feed", "feed", handler, Operation("feeds", {}), "ingest", "items"),
        Route("GET", "/live", "live", handler, Operation("lives", {})),
    ]
    said = document(routes, keyed=True)
    ask, feed, live = (said["paths"][path][way] for path, way in WAYS)
    assert set(said["components"]["securitySchemes"]) == {"bearer", "key"}
    assert ask["security"] == feed["security"] == [{"bearer": []}, {"key": []}]
    for each in (ask, feed):
        assert {"401", "403"} <= each["responses"].keys()
    assert "security" not in live
    assert not {"401", "403"} & live["responses"].keys()


WAYS = (("/ask", "post"), ("/feed", "put"), ("/live", "get"))
