"""What people read: messages of errors and hints, in Chinese and English. Codes never change."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from verifier.invoice.fields import FieldError
from verifier.invoice.hints import Hint

Language = Literal["zh", "en"]

_FIELDS_ZH = {
    "": "内容",
    "kind": "发票种类",
    "code": "发票代码",
    "number": "发票号码",
    "date": "开票日期",
    "check_code": "校验码",
    "amount": "不含税金额",
    "tax": "税额",
    "total": "价税合计",
    "seller_tax_id": "销售方纳税人识别号",
    "seller_name": "销售方名称",
    "buyer_tax_id": "购买方纳税人识别号",
    "buyer_name": "购买方名称",
    "reference": "备注标识",
    "qr": "二维码内容",
    "status": "发票状态",
    "issued_at": "开具时间",
    "region": "地区",
    "red_letter": "红字发票",
    "red_letter_of": "对应蓝字发票",
    "red_letters": "红字发票列表",
    "complete_until": "水位时间",
}

# code -> (Chinese, English); {name} is the field, {expected} what was expected.
_ERRORS = {
    "required": ("缺少{name}", "{name} is required"),
    "bad_format": (
        "{name}格式不正确，应为：{expected}",
        "{name} is malformed; expected {expected}",
    ),
    "bad_length": (
        "{name}长度不正确，应为：{expected}",
        "{name} has a wrong length; expected {expected}",
    ),
    "out_of_range": (
        "{name}超出范围，应为：{expected}",
        "{name} is out of range; expected {expected}",
    ),
    "unknown_region": ("{name}中的地区代码不存在", "{name} carries an unknown region"),
    "date_in_future": (
        "{name}晚于今天，应为：{expected}",
        "{name} is in the future; expected {expected}",
    ),
    "out_of_window": (
        "{name}早于五年查验期限，应为：{expected}",
        "{name} is older than the five years in scope; expected {expected}",
    ),
    "unknown_kind": (
        "不存在这种{name}，应为：{expected}",
        "unknown {name}; expected one of {expected}",
    ),
    "kind_needed": (
        "无法由发票代码判断{name}，请提供：{expected}",
        "the code does not tell the {name}; give one of {expected}",
    ),
    "unknown_field": ("未知字段 {name}", "unknown field {name}"),
    "duplicate_field": ("{name}重复出现", "{name} is given more than once"),
    "not_applicable": (
        "20 位号码的发票没有{name}",
        "an invoice with a 20-digit number has no {name}",
    ),
    "unknown_invoice": ("账簿中没有这张发票", "the ledger has no such invoice"),
}

# What is said of an unknown field whose meaning is known.
_UNKNOWN_BUT_MEANT = (
    "未知字段 {name}，请使用：{expected}",
    "unknown field {name}; use {expected}",
)

_HINTS = {
    "repaired": ("{name}的书写已自动规范", "{name} was repaired before the check"),
    "qr_checksum": (
        "二维码校验值不符，可能扫描有误",
        "the QR code's checksum is wrong; it may have been misread",
    ),
    "number_year": ("号码中的年份与开票日期不同", "the number's year differs from the date's"),
    "tax_id_check_digit": ("{name}的校验位不符", "the check digit of {name} is wrong"),
    "kind_differs_from_code": (
        "所填发票种类与发票代码或号码不符",
        "the kind given is not one that this code or number can have",
    ),
    "duplicate_in_request": (
        "与本次请求中第 {first} 项是同一张发票",
        "the same invoice as item {first} of this request",
    ),
    "swapped_amounts": (
        "不含税金额与价税合计可能填反",
        "amount (without tax) and total (with tax) may be swapped",
    ),
}


def error_message(error: FieldError, language: Language) -> str:
    """One sentence that names the field, what was wrong and what was expected."""
    chinese = language == "zh"
    name = _FIELDS_ZH.get(error.field, error.field) if chinese else error.field or "the item"
    words = _ERRORS[error.code]
    if error.code == "unknown_field" and error.expected:
        words = _UNKNOWN_BUT_MEANT
    return words[0 if chinese else 1].format(name=name, expected=error.expected)


def hint_message(hint: Hint, language: Language) -> str:
    """One sentence for a hint."""
    chinese = language == "zh"
    name = _FIELDS_ZH.get(hint.field, hint.field) if chinese else hint.field
    return _HINTS[hint.code][0 if chinese else 1].format(name=name, first=hint.first_index)


@lru_cache(maxsize=1024)
def language_of(accept_language: str) -> Language:
    """The better of Chinese and English for an Accept-Language header; Chinese by default."""
    best: dict[str, float] = {}
    for choice in accept_language.lower().split(","):
        tag, _, parameter = choice.partition(";")
        name, _, quality = parameter.strip().partition("=")
        try:
            weight = float(quality) if name.strip() == "q" else 1.0
        except ValueError:
            weight = 0.0
        primary = tag.strip().partition("-")[0]
        best[primary] = max(weight, best.get(primary, 0.0))
    return "en" if best.get("en", 0.0) > best.get("zh", best.get("*", 0.0)) else "zh"
