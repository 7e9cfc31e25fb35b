"""Question: what a caller sent. Claim: what it says, once repaired and parsed (contract.md §1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from verifier.invoice import fields
from verifier.invoice.fields import FieldError
from verifier.invoice.hints import Hint

# Where a field's schema keeps what is taken beside its type; api/openapi.py puts that among the
# others: msgspec writes the type's own "anyOf" over any that stands here.
ALSO = "x-also"


def _text(description: str, example: str, *also: dict[str, Any]) -> Meta:
    schema: dict[str, Any] = {"examples": [example]}
    if also:
        schema[ALSO] = list(also)
    return Meta(description=description, extra_json_schema=schema)


_NUMBER = {"type": "number"}


class Question(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One question about one invoice, as sent: nothing is repaired or checked yet."""

    # A JSON number as an amount does not fit here on purpose: it would become a float. Such a
    # question is decoded once more, to a mapping with exact decimals (wire/questions.py).

    kind: Annotated[
        str | None, _text("发票种类; inferred from code and number when absent", "vat_e_ordinary")
    ] = None
    code: Annotated[
        str | None, _text("发票代码, 10 or 12 digits; none with a 20-digit number", "011002300111")
    ] = None
    number: Annotated[str | None, _text("发票号码, 8 or 20 digits", "12345678")] = None
    date: Annotated[str | None, _text("开票日期", "2026-03-01")] = None
    check_code: Annotated[
        str | None,
        _text("校验码: the last 6 or all 20 digits; 5 characters on a blockchain", "123456"),
    ] = None
    amount: Annotated[str | None, _text("不含税金额, without tax", "100.00", _NUMBER)] = None
    total: Annotated[str | None, _text("价税合计, with tax", "113.00", _NUMBER)] = None
    seller_tax_id: Annotated[str | None, _text("销售方纳税人识别号", "91110108MA01A2B3C4")] = None
    buyer_tax_id: Annotated[str | None, _text("购买方纳税人识别号", "91110108MA01A2B3C4")] = None
    reference: (
        Annotated[
            str,
            Meta(
                max_length=fields.MAX_REFERENCE,
                description="The caller's own mark; echoed in the answer",
                examples=["expense-4711"],
            ),
        ]
        | None
    ) = None
    qr: Annotated[
        str | None,
        _text(
            "The text of the invoice's QR code; other fields override what it says",
            "01,32,,26112000000000000001,113.00,20260301,,",
        ),
    ] = None


FIELDS = frozenset(Question.__struct_fields__)


class Claim(msgspec.Struct, frozen=True, gc=False):
    """A well-formed question in canonical text; None where the caller said nothing."""

    key: str
    region: str
    date: str
    kind: str | None
    amount: str | None
    total: str | None
    check_code: str | None
    seller_tax_id: str | None
    buyer_tax_id: str | None
    reference: str | None
    hints: tuple[Hint, ...]

    def fingerprint(self) -> int:
        """A hash of what is said of the invoice beside which one it is; never 0."""
        said = (self.date, self.kind, self.amount, self.total, self.check_code)
        return hash((said, self.seller_tax_id, self.buyer_tax_id)) or 1


class Invalid(msgspec.Struct, frozen=True, gc=False):
    """A malformed question or line: its bad fields, sorted by field, and how many more it has."""

    errors: tuple[FieldError, ...]
    hints: tuple[Hint, ...] = ()
    more_errors: int = 0


# What an item decodes to: a Question; a mapping when it does not fit that structure (parsing takes
# its JSON numbers, or says what is wrong); Invalid when it is no JSON object at all.
Item = Question | Mapping[str, Any] | Invalid


def raw_keys(items: Iterable[object]) -> list[str]:
    """The key that each item spells as it stands; empty when it has to be parsed first."""
    return [
        ""
        if type(item) is not Question or item.qr is not None or (number := item.number) is None
        else f"{item.code}-{number}"
        if item.code
        # Without a code only a 20-digit number is a key; longer text that spells another key is
        # malformed. This is DIGITAL_LENGTH, whose name would make it 2 % slower.
        else number
        if len(number) == 20
        else ""
        for item in items
    ]


def reference_of(given: Mapping[str, Any]) -> str | None:
    """The reference that an answer echoes: at most MAX_REFERENCE characters and no NUL; or None."""
    reference = given.get("reference")
    if not isinstance(reference, str) or len(reference) > fields.MAX_REFERENCE:
        return None
    return None if "\0" in reference else reference
