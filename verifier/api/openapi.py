"""The OpenAPI 3.1 document, made from the structures that decode and from schemas.py."""

from __future__ import annotations

from typing import Any

import msgspec

import verifier
from verifier.invoice.claim import Question
from verifier.wire import schemas
from verifier.wire.lines import Line, StatusLine
from verifier.wire.problems import CONTENT_TYPE as PROBLEM_TYPE
from verifier.wire.questions import Batch

_JSON = "application/json"
_NDJSON = "application/x-ndjson"
_TEXT = "text/plain"

_TYPES: dict[str, Any] = {
    "Question": Question,
    "Batch": Batch,
    "LedgerLine": Line,
    "StatusLine": StatusLine,
    "Answer": schemas.Answer,
    "Result": schemas.Result,
    "BatchAnswer": schemas.BatchAnswer,
    "StreamEnd": schemas.StreamEnd,
    "Problem": schemas.Problem,
    "Fed": schemas.Fed,
    "NothingAccepted": schemas.NothingAccepted,
    "Watermark": schemas.Watermark,
    "WatermarkSet": schemas.WatermarkSet,
    "FreshnessReport": schemas.FreshnessReport,
}

_TOKEN = {
    "name": "Consistency-Token",
    "in": "header",
    "required": False,
    "description": "A token from a ledger feed: the answer sees at least that state.",
    "schema": {"type": "string"},
}
_LANGUAGE = {
    "name": "Accept-Language",
    "in": "header",
    "required": False,
    "description": "Language of messages: zh (default) or en. Codes never change.",
    "schema": {"type": "string"},
}
_REGION = {
    "name": "region",
    "in": "path",
    "required": True,
    "description": "A 4-digit region code.",
    "schema": {"type": "string", "pattern": r"^\d{4}$"},
}
_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds"}}


def _content(media: str, schema: Any) -> dict[str, Any]:
    return {"content": {media: {"schema": schema}}}


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, **_content(PROBLEM_TYPE, {"$ref": _ref("Problem")})}


def _unavailable(description: str) -> dict[str, Any]:
    return {**_problem(description), "headers": _RETRY_AFTER}


def _ok(description: str, schema: Any, media: str = _JSON) -> dict[str, Any]:
    return {"description": description, **_content(media, schema)}


def _body(schema: Any, media: str = _JSON) -> dict[str, Any]:
    return {"required": True, **_content(media, schema)}


def _ref(name: str) -> str:
    return f"#/components/schemas/{name}"


def _operations(schema: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Every operation by method and path; ``schema`` maps the names of _TYPES to schemas."""
    object_ = {"type": "object"}
    unreadable = {
        "400": _problem("The body is not JSON, or not of this shape."),
        "408": _problem("The body did not arrive in time."),
        "413": _problem("The body is too large, or holds too many items."),
        "415": _problem("The body is compressed."),
    }
    refused = {"503": _unavailable("Refused before any work: overload, or shutting down.")}
    kept_out = {
        "403": _problem("Another site's page asks, or the ledger is not exposed on this host."),
        "415": _problem("The body is compressed, or of another media type."),
    }
    fed = {
        "200": _ok("What became of the lines.", schema["Fed"]),
        "422": _ok("No line was accepted or unchanged.", schema["NothingAccepted"], PROBLEM_TYPE),
        **kept_out,
        "503": _unavailable("The primary could not be written; nothing was committed."),
    }
    return {
        ("post", "/v1/verify"): {
            "summary": "Ask about one invoice",
            "parameters": [_TOKEN, _LANGUAGE],
            "requestBody": _body(schema["Question"]),
            "responses": {
                "200": _ok("match, mismatch, not_found or pending.", schema["Answer"]),
                "422": _problem("invalid: which field, why, and what was expected."),
                "503": _unavailable("unavailable: could not be checked."),
                **unreadable,
            },
        },
        ("post", "/v1/verify/batch"): {
            "summary": "Ask about up to 10,000 invoices",
            "parameters": [_TOKEN, _LANGUAGE],
            "requestBody": _body(schema["Batch"]),
            "responses": {
                "200": _ok("One result per item, in order.", schema["BatchAnswer"]),
                **unreadable,
                **refused,
            },
        },
        ("post", "/v1/verify/stream"): {
            "summary": "Ask about any number of invoices, a line each",
            "parameters": [_TOKEN, _LANGUAGE],
            "requestBody": _body(schema["Question"], _NDJSON),
            "responses": {
                "200": _ok(
                    "A result per line, in order, then the summary.",
                    {"anyOf": [schema["Result"], schema["StreamEnd"]]},
                    _NDJSON,
                ),
                "400": _problem("The consistency token is not one of ours."),
                "415": unreadable["415"],
                **refused,
            },
        },
        ("post", "/v1/ledger/invoices"): {
            "summary": "Feed invoices to the ledger, a line each",
            "parameters": [_LANGUAGE],
            "requestBody": _body(schema["LedgerLine"], _NDJSON),
            "responses": fed,
        },
        ("post", "/v1/ledger/status"): {
            "summary": "Change the state of invoices, a line each",
            "parameters": [_LANGUAGE],
            "requestBody": _body(schema["StatusLine"], _NDJSON),
            "responses": fed,
        },
        ("put", "/v1/ledger/regions/{region}/watermark"): {
            "summary": "Say until when a region is complete",
            "parameters": [_REGION, _LANGUAGE],
            "requestBody": _body(schema["Watermark"]),
            "responses": {
                "200": _ok("The watermark as stored.", schema["WatermarkSet"]),
                "404": _problem("There is no such region."),
                "422": _problem("The moment is in the future, or before 2000."),
                "503": _unavailable("The primary could not be written."),
                **unreadable,
                **kept_out,
            },
        },
        ("get", "/v1/freshness"): {
            "summary": "Watermarks by region, lag by database",
            "responses": {"200": _ok("As last seen.", schema["FreshnessReport"])},
        },
        ("get", "/livez"): {
            "summary": "Is the process alive?",
            "responses": {"200": _ok("Yes.", object_)},
        },
        ("get", "/readyz"): {
            "summary": "Does the process take questions?",
            "responses": {"200": _ok("Yes.", object_), "503": _ok("No, and why.", object_)},
        },
        ("get", "/startupz"): {
            "summary": "Has the process started?",
            "responses": {"200": _ok("Yes.", object_), "503": _ok("Not yet.", object_)},
        },
        ("get", "/metrics"): {
            "summary": "Prometheus metrics",
            "description": "Of all workers: counters and histograms added up, gauges by worker.",
            "responses": {
                "200": _ok("Text format.", {"type": "string"}, _TEXT),
                "503": _unavailable("The supervisor did not tell them in time."),
            },
        },
        ("get", "/openapi.json"): {
            "summary": "This document",
            "responses": {"200": _ok("OpenAPI 3.1.", object_)},
        },
    }


def document() -> dict[str, Any]:
    """The OpenAPI document as a JSON-serialisable mapping."""
    shapes, components = msgspec.json.schema_components(
        list(_TYPES.values()), ref_template="#/components/schemas/{name}"
    )
    schema = dict(zip(_TYPES, shapes, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), operation in _operations(schema).items():
        paths.setdefault(path, {})[method] = {
            "operationId": f"{method}_{path.strip('/').replace('/', '_').replace('.', '_')}",
            **operation,
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
        "components": {"schemas": components},
    }
