"""What an invoice code (发票代码) and a 20-digit number say about region and kind.

Source: domain.md §3 and §4. All functions take text that is already repaired to ASCII digits and
return None where the text does not say; they never raise.
"""

from __future__ import annotations

import re
from functools import lru_cache

from verifier.invoice.identity import DIGITAL_LENGTH, LONG_CODE, SHORT_CODE
from verifier.invoice.kinds import KINDS

REGIONS: dict[str, str] = {
    "1100": "北京", "1200": "天津", "1300": "河北", "1400": "山西", "1500": "内蒙古",
    "2100": "辽宁", "2102": "大连", "2200": "吉林", "2300": "黑龙江", "3100": "上海",
    "3200": "江苏", "3300": "浙江", "3302": "宁波", "3400": "安徽", "3500": "福建",
    "3502": "厦门", "3600": "江西", "3700": "山东", "3702": "青岛", "4100": "河南",
    "4200": "湖北", "4300": "湖南", "4400": "广东", "4403": "深圳", "4500": "广西",
    "4600": "海南", "5000": "重庆", "5100": "四川", "5200": "贵州", "5300": "云南",
    "5400": "西藏", "6100": "陕西", "6200": "甘肃", "6300": "青海", "6400": "宁夏",
    "6500": "新疆",
}  # fmt: skip

# The five cities that report apart from their province.
CITIES = frozenset({"2102", "3302", "3502", "3702", "4403"})

# Digits 3-4 of a 20-digit number; 91 is known from one source only (M).
NUMBER_REGIONS: dict[str, str] = {code[:2]: code for code in REGIONS if code not in CITIES} | {
    "91": "2102",
    "92": "3702",
    "93": "3302",
    "94": "3502",
    "95": "4403",
}

_KIND_BY_8TH = {digit: kind.name for kind in KINDS.values() for digit in kind.eighths}
_KIND_BY_LAST_TWO = {ending: kind.name for kind in KINDS.values() for ending in kind.endings}
# Codes of 12 digits without a leading 0; the group that matches has the name of the kind.
_IRREGULAR = re.compile(
    "|".join([f"(?P<{kind.name}>{kind.irregular})" for kind in KINDS.values() if kind.irregular]),
    re.DOTALL,
)

# The regular expression of a 20-digit number whose region is known.
DIGITAL_FORM = rf"\d\d(?:{'|'.join(NUMBER_REGIONS)})\d{{{DIGITAL_LENGTH - 4}}}"


# Thousands of invoices share a code, so few codes are in use at a time.
@lru_cache(maxsize=8192)
def kind_of_code(code: str) -> str | None:
    """The kind that a code of 10 or 12 digits stands for, or None when it does not say."""
    if len(code) == SHORT_CODE:
        return _KIND_BY_8TH.get(code[7])
    if len(code) != LONG_CODE:
        return None
    if code[0] == "0":
        return _KIND_BY_LAST_TWO.get(code[10:])
    found = _IRREGULAR.fullmatch(code)
    return found.lastgroup if found else None


def may_have_code(kind: str, code: str) -> bool:
    """Whether an invoice of this kind can have this code; an empty code means 20 digits."""
    entry = KINDS[kind]
    if not code:
        return entry.digital
    inferred = kind_of_code(code)
    return len(code) in entry.code_lengths and (
        inferred is None or inferred in (kind, entry.printed_on)
    )


def region_of_code(code: str) -> str | None:
    """The 4-digit region of a code of 10 or 12 digits, or None for an unknown one.

    E-invoice codes carry city digits, so only the five cities keep all four.
    """
    digits = code[1:5] if len(code) == LONG_CODE else code[:4]
    if digits in CITIES:
        return digits
    region = digits[:2] + "00"
    return region if region in REGIONS else None


def region_of_number(number: str) -> str | None:
    """The 4-digit region of a 20-digit number, or None for an unknown one."""
    return NUMBER_REGIONS.get(number[2:4])


def region_of(code: str, number: str) -> str | None:
    """The region of an identity; ``code`` is empty for the 20-digit family."""
    return region_of_code(code) if code else region_of_number(number)
