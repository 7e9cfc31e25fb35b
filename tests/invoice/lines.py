"""Lines to ingest, for tests."""

from __future__ import annotations

from typing import Any

import msgspec

from verifier.invoice.claim import Invalid
from verifier.invoice.kinds import KINDS, Kind
from verifier.wire.lines import COLUMNS, Row

NUMBER = "26112000000000000001"
OTHER = "26112000000000000002"
CODES = {10: "1100261130", 12: "011002600111"}


def example(kind: Kind, **changes: Any) -> dict[str, Any]:
    """A canonical line of a kind."""
    form = kind.check_code
    text = "a1B2c3" if form.letters else "01234567890123456789"
    return {
        "kind": kind.name,
        "code": "" if kind.digital else CODES[kind.code_lengths[-1]],
        "number": NUMBER if kind.digital else "12345678",
        "date": "2026-03-01",
        "amount": "100.00",
        "tax": "13.00",
        "total": "113.00",
        "check_code": text[: form.length] if kind.has_check_code else "",
        "seller_tax_id": "91110108MA01ABCD12",
        "seller_name": "测试销售有限公司",
        "buyer_tax_id": "",
        "buyer_name": "测试个人",
        "status": "normal",
        **changes,
    }


DIGITAL = KINDS["digital_ordinary"]


def encoded(**changes: Any) -> bytes:
    """A line of a digital invoice with changes; None leaves a member out."""
    members = example(DIGITAL) | changes
    return msgspec.json.encode({k: v for k, v in members.items() if v is not None})


def values(row: object) -> dict[str, str]:
    """The values of a row by column."""
    assert isinstance(row, Row)
    return dict(zip(COLUMNS, row.text.split("\t"), strict=True))


def errors(outcome: object) -> list[tuple[str, str]]:
    """Field and code of each error."""
    assert isinstance(outcome, Invalid)
    return [(error.field, error.code) for error in outcome.errors]
