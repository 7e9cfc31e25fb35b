"""Question: what a caller sent. Claim: what it says, once repaired and parsed (contract.md §1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from verifier.invoice import fields, hints, qr
from verifier.invoice.codes import kind_of_code, region_of
from verifier.invoice.fields import FieldError
from verifier.invoice.hints import Hint
from verifier.invoice.kinds import DIGITAL_FACTORS, KINDS
from verifier.invoice.record import key_of


def _text(description: str, example: str, *also: dict[str, Any]) -> Meta:
    schema: dict[str, Any] = {"examples": [example]}
    if also:
        schema["anyOf"] = [{"type": "string"}, {"type": "null"}, *also]
    return Meta(description=description, extra_json_schema=schema)


_NUMBER = {"type": "number"}


class Question(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One question about one invoice, as sent: nothing is repaired or checked yet.

    A JSON number as an amount does not fit here on purpose: it would become a float. Such a
    question is decoded again by ``codec`` with exact decimals, and parsed from the mapping.
    """

    kind: Annotated[
        str | None, _text("发票种类; inferred from code and number when absent", "vat_e_ordinary")
    ] = None
    code: Annotated[
        str | None, _text("发票代码, 10 or 12 digits; none with a 20-digit number", "011002300111")
    ] = None
    number: Annotated[str | None, _text("发票号码, 8 or 20 digits", "12345678")] = None
    date: Annotated[str | None, _text("开票日期", "2026-03-01")] = None
    check_code: Annotated[
        str | None, _text("校验码: the last 6 or all 20 digits; 5 characters on a blockchain", "123456")
    ] = None
    amount: Annotated[str | None, _text("不含税金额, without tax", "100.00", _NUMBER)] = None
    total: Annotated[str | None, _text("价税合计, with tax", "113.00", _NUMBER)] = None
    seller_tax_id: Annotated[
        str | None, _text("销售方纳税人识别号", "91110108MA01A2B3C4")
    ] = None
    buyer_tax_id: Annotated[
        str | None, _text("购买方纳税人识别号", "91110108MA01A2B3C4")
    ] = None
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


class Invalid(msgspec.Struct, frozen=True, gc=False):
    """A malformed question: every bad field, sorted by field."""

    errors: tuple[FieldError, ...]
    hints: tuple[Hint, ...]


_CANONICAL_KEY = re.compile(r"\d{20}|\d{10}-\d{8}|\d{12}-\d{8}", re.ASCII)


def raw_key(question: Question) -> str | None:
    """The key that the question spells, if it needs no repair; None when it must be parsed."""
    number = question.number
    if number is None or question.qr is not None:
        return None
    if question.code:
        return f"{question.code}-{number}"
    # A number that spells a key with its hyphen has to be parsed: there is no code in it.
    return number if len(number) == 20 else None


def is_canonical(key: str) -> bool:
    """Whether a raw key has the form of a real one, so that it may be looked up as it stands."""
    return _CANONICAL_KEY.fullmatch(key) is not None


def reference_of(given: Mapping[str, Any]) -> str | None:
    """The reference that an answer echoes: text of a bearable length, else None."""
    reference = given.get("reference")
    return reference if isinstance(reference, str) and len(reference) <= fields.MAX_REFERENCE else None


_FIELDS = frozenset(Question.__struct_fields__)
_PLAIN_MONEY = re.compile(r"-?\d+(\.\d*)?", re.ASCII)
_COMPACT_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})", re.ASCII)


class _Parser:
    """Values, errors and hints of one question; lives for one call of ``parse``."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        # null and "" both mean "not supplied": ledgers and forms write either.
        self.given = {name: value for name, value in given.items() if value not in (None, "")}
        self.errors: list[FieldError] = []
        self.hints: list[Hint] = []

    def fail(self, field: str, code: str, expected: str = "") -> None:
        self.errors.append(FieldError(field, code, expected))

    def hint(self, hint: Hint | None) -> None:
        if hint is not None:
            self.hints.append(hint)

    def text(
        self, field: str, parse: Callable[[str], str | FieldError], expected: str
    ) -> str | None:
        """The canonical value of a text field; None when it is absent, or bad and reported."""
        value = self.given.get(field)
        if value is None:
            return None
        parsed = parse(value) if isinstance(value, str) else FieldError(field, "bad_format", expected)
        return self._settle(field, parsed, repaired=parsed != value)

    def money(self, field: str) -> str | None:
        """The same for an amount. ``88`` and ``88.0`` are no repairs of ``88.00``; a number is."""
        value = self.given.get(field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            parsed: str | FieldError = FieldError(field, "bad_format", fields.EXPECTED_MONEY)
        else:
            parsed = fields.parse_money(field, value)
        plain = isinstance(value, str) and _PLAIN_MONEY.fullmatch(value) is not None
        return self._settle(field, parsed, repaired=not plain)

    def _settle(self, field: str, parsed: str | FieldError, *, repaired: bool) -> str | None:
        if isinstance(parsed, FieldError):
            self.errors.append(parsed)
            return None
        if repaired:
            self.hints.append(Hint("repaired", field))
        return parsed

    def scan(self) -> str | None:
        """Fill what the QR code says and the caller does not; return the kind it presumes."""
        text = self.given.get("qr")
        if text is None:
            return None
        if not isinstance(text, str) or len(text) > fields.MAX_QR:
            self.fail("qr", "bad_format" if not isinstance(text, str) else "bad_length")
            return None
        narrowed = fields.narrow(text).strip()
        scan = qr.parse(narrowed)
        if scan is None:
            self.fail("qr", "bad_format", "01,<type>,<code>,<number>,<amount>,<yyyymmdd>,<check code>")
            return None
        if narrowed != text:
            self.hints.append(Hint("repaired", "qr"))
        if scan.checksum_ok is False:
            self.hints.append(Hint("qr_checksum", "qr"))
        # The compact date is the QR code's own form, not a repair.
        date = _COMPACT_DATE.sub(r"\1-\2-\3", scan.date) if scan.date else None
        said = {
            "code": scan.code,
            "number": scan.number,
            "date": date,
            "amount": scan.amount,
            "total": scan.total,
            "check_code": scan.check_code,
        }
        self.given = {name: value for name, value in said.items() if value} | self.given
        return scan.presumed_kind


def parse(given: Mapping[str, Any], oldest: str, today: str) -> Claim | Invalid:
    """Repair and parse a question given as a mapping of its JSON members.

    ``oldest`` and ``today`` bound the issue date (ISO, Asia/Shanghai). Every bad field is
    reported once; what depends on a bad field is not reported again (contract.md §2).
    """
    parser = _Parser(given)
    for name in given:
        if name not in _FIELDS:
            parser.fail(name[:64], "unknown_field")
    reference = parser.given.get("reference")
    if reference is not None and reference_of(given) is None:
        wrong = "bad_length" if isinstance(reference, str) else "bad_format"
        parser.fail("reference", wrong, f"≤ {fields.MAX_REFERENCE}")
    presumed = parser.scan()
    readable = not any(error.field == "qr" for error in parser.errors)

    number = parser.text("number", fields.parse_number, fields.EXPECTED_NUMBER)
    spelled = parser.given.get("number")
    # A 20-digit number that is wrong otherwise still is of the digital family.
    digital = isinstance(spelled, str) and len(fields.tidy_digits(spelled)) == 20
    code = ""
    if digital:
        if "code" in parser.given:
            parser.fail("code", "not_applicable")
    else:
        code = parser.text("code", fields.parse_code, fields.EXPECTED_CODE) or ""
    kind = parser.text("kind", fields.parse_kind, " ".join(KINDS))
    date = parser.text(
        "date", partial(fields.parse_date, oldest=oldest, today=today), fields.EXPECTED_DATE
    )
    amount = parser.money("amount")
    total = parser.money("total")
    seller, buyer = (
        parser.text(field, partial(fields.parse_tax_id, field), fields.EXPECTED_TAX_ID)
        for field in ("seller_tax_id", "buyer_tax_id")
    )

    # What must be there, as far as the fields that decide it are sound.
    required = ["number", "date"]
    if number is not None and not digital:
        required.append("code")
    known = kind or (kind_of_code(code) or presumed if code and "kind" not in parser.given else None)
    if digital:
        required += DIGITAL_FACTORS
    elif known is not None:
        required += KINDS[known].factors
    elif code and "kind" not in parser.given and readable:
        parser.fail("kind", "kind_needed", " ".join(KINDS))
    check_code = parser.text(
        "check_code", partial(fields.parse_check_code, kind=known), fields.EXPECTED_CHECK_CODE
    )
    if readable:
        for field in required:
            if field not in parser.given:
                parser.fail(field, "required")

    if kind is not None and number is not None and (code or digital):
        parser.hint(hints.kind_differs_from_code(kind, code))
    if number is not None and date is not None:
        parser.hint(hints.number_year(number, date))
    for field, tax_id in (("seller_tax_id", seller), ("buyer_tax_id", buyer)):
        if tax_id is not None:
            parser.hint(hints.tax_id_check_digit(field, tax_id))
    said = tuple(parser.hints)
    if parser.errors:
        # Long names of unknown fields may be cut to the same one.
        return Invalid(tuple(sorted(set(parser.errors))), said)
    # Without an error both are there: they are required, and a bad one would have been reported.
    assert number is not None
    assert date is not None
    region = region_of(code, number)
    assert region is not None
    return Claim(
        key_of(code, number),
        region,
        date,
        kind,
        amount,
        total,
        check_code,
        seller,
        buyer,
        reference_of(given),
        said,
    )
