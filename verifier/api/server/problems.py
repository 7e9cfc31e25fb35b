"""Responses with a problem document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from verifier.errors import BadRequest, Unavailable
from verifier.wire.messages import Language, language_of
from verifier.wire.problems import CONTENT_TYPE, PROBLEMS, document, unavailable


def language(request: web.BaseRequest) -> Language:
    """The language that the caller prefers."""
    return language_of(request.headers.get("Accept-Language", ""))


def response(
    request: web.BaseRequest,
    code: str,
    detail: str,
    *,
    retry_after: int = 0,
    members: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """The response for a code; ``retry_after`` is in seconds, 0 for none."""
    body = document(code, language(request), detail, members or {})
    return ready(code, body, retry_after=retry_after, headers=headers)


def ready(
    code: str, body: bytes, *, retry_after: int = 0, headers: Mapping[str, str] | None = None
) -> web.Response:
    """The same with a document that is there already."""
    sent = {"Content-Type": CONTENT_TYPE, **(headers or {})}
    if retry_after:
        sent["Retry-After"] = str(retry_after)
    return web.Response(status=PROBLEMS[code][0], body=body, headers=sent)


def of_request(error: BadRequest, language: Language) -> bytes:
    """The document of a request that cannot be answered."""
    return document(error.code, language, error.detail, error.members or {})


def of_error(request: web.BaseRequest, error: BadRequest | Unavailable) -> web.Response:
    """The response for a request that fails as a whole."""
    if isinstance(error, Unavailable):
        body = unavailable(language(request), error.reason, error.retry_after)
        return ready("unavailable", body, retry_after=error.retry_after)
    return ready(error.code, of_request(error, language(request)), headers=error.headers)


_HTTP_CODES = {
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    417: "expectation_failed",
}


def http_code(error: web.HTTPException) -> str:
    """The code for what aiohttp itself refuses."""
    return _HTTP_CODES.get(error.status, "bad_request")


def of_http(
    request: web.BaseRequest, error: web.HTTPException, members: Mapping[str, Any]
) -> web.Response:
    """The response for what aiohttp itself refuses (no such route or method, an expectation)."""
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
    return response(request, http_code(error), error.reason, members=members, headers=headers)
