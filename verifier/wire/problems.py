"""Problem documents (RFC 9457): one table maps each code to its status and title."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from verifier.wire.messages import Language

# code -> (status, Chinese title, English title)
PROBLEMS: dict[str, tuple[int, str, str]] = {
    "invalid": (422, "输入有误", "The question is malformed"),
    "unavailable": (503, "暂不可用", "The question could not be checked"),
    "malformed_json": (400, "不是有效的 JSON", "The body is not JSON"),
    "malformed_batch": (400, "批量请求格式不正确", "The body is not a batch"),
    "malformed_watermark": (400, "水位格式不正确", "The body is not a watermark"),
    "invalid_watermark": (422, "水位时间超出范围", "The watermark is out of range"),
    "malformed_token": (400, "一致性令牌无效", "The consistency token is not one of ours"),
    "malformed_timeout": (400, "超时时间无效", "The timeout is no number of milliseconds"),
    "content_encoding": (415, "不接受压缩的请求", "Compressed requests are refused"),
    "unsupported_media_type": (415, "不接受这种内容类型", "The media type is not taken here"),
    "malformed_period": (400, "日期范围无效", "The period is not one of days"),
    "no_key": (401, "缺少 API 密钥", "An API key is needed"),
    "wrong_key": (401, "API 密钥无效", "The API key is not one of ours"),
    "expired_key": (401, "API 密钥已过期", "The API key has expired"),
    "revoked_key": (401, "API 密钥已撤销", "The API key was revoked"),
    "wrong_scope": (403, "API 密钥权限不足", "The API key is not good for this"),
    "quota_exceeded": (429, "超出限额", "The limit is used up"),
    "abnormal_usage": (429, "查询异常，已限速", "Held back for how it was asked"),
    "cross_site": (403, "拒绝跨站请求", "Requests by other sites' pages are refused"),
    "ledger_not_exposed": (403, "账簿接口未开放", "The ledger is not exposed on this host"),
    "nothing_accepted": (422, "没有一行被接受", "No line was accepted"),
    "body_too_large": (413, "请求过大", "The body is too large"),
    "too_many_items": (413, "批量条数过多", "The batch has too many items"),
    "body_timeout": (408, "接收请求超时", "The body did not arrive in time"),
    "unknown_region": (404, "地区代码不存在", "There is no such region"),
    "not_found": (404, "没有这个地址", "There is no such address"),
    "method_not_allowed": (405, "不支持的方法", "The method is not allowed here"),
    "bad_request": (400, "请求有误", "The request is malformed"),
    "header_too_large": (431, "请求头过大", "The head of the request is too large"),
    "header_timeout": (408, "接收请求头超时", "The head of the request did not arrive in time"),
    "expectation_failed": (417, "不支持的 Expect", "The expectation cannot be met"),
    "internal": (500, "内部错误", "Internal error"),
}

# Types that others have given a name; all others are our own.
_TYPES = {
    "quota_exceeded": "https://iana.org/assignments/http-problem-types#quota-exceeded",
    "abnormal_usage": "https://iana.org/assignments/http-problem-types#abnormal-usage-detected",
}

CONTENT_TYPE = "application/problem+json"


def unavailable(language: Language, reason: str, retry_after: int) -> bytes:
    """The JSON of the problem that a request could not be taken up."""
    members = {"reason": reason, "retry_after": retry_after}
    return document("unavailable", language, reason, members)


def document(code: str, language: Language, detail: str, members: Mapping[str, Any]) -> bytes:
    """The JSON of a problem; ``members`` are extensions.

    ``detail`` may quote a head, whose bytes that are no UTF-8 come out as question marks.
    """
    status, chinese, english = PROBLEMS[code]
    return msgspec.json.encode(
        {
            "type": _TYPES.get(code, f"urn:verifier:problem:{code}"),
            "title": chinese if language == "zh" else english,
            "status": status,
            "code": code,
            "detail": detail if detail.isascii() else detail.encode(errors="replace").decode(),
            **members,
        }
    )
