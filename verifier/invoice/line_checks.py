"""The fields of a ledger line, one by one: what is wrong with each, or its canonical form.

Only lines that are not in canonical form come here (wire/lines.py). The rules are those of
domain.md §2-§5; every bad field is reported once, and none causes a follow-up error in another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Set
from decimal import Decimal
from typing import Any

from verifier.invoice import fields
from verifier.invoice.claim import Invalid
from verifier.invoice.codes import REGIONS, region_of_code, region_of_number
from verifier.invoice.fields import MAX_TAX_ID, FieldError, digits_of
from verifier.invoice.flaws import flaws
from verifier.invoice.forms import TAX_ID_CHARACTER, is_date, is_moment
from verifier.invoice.identity import (
    CODE_LENGTHS,
    DIGITAL_LENGTH,
    NO_NUMBER,
    NUMBER_LENGTH,
    NUMBER_LENGTHS,
    canonical_key,
)
from verifier.invoice.kinds import KINDS, STATUSES, Kind
from verifier.invoice.names import listed
from verifier.invoice.record import MAX_NAME

# Several red letters may take an invoice back bit by bit. Each needs a confirmation
# (红字信息确认单) by buyer and seller, so that real invoices have few; a line that names more than
# this is a fault of its sender.
MAX_RED_LETTERS = 100

_MONEY = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d{1,2})?", re.ASCII)
_NUMBERS = (int, Decimal)
_TAX_ID = re.compile(f"{TAX_ID_CHARACTER}*")

_EXPECTED_MOMENT = "YYYY-MM-DDThh:mm:ssZ"
_EXPECTED_REFERENCE = '{"code", "number"}'
_EXPECTED_TAX_ID = f"0 … {MAX_TAX_ID} × 0-9 A-Z"
_EXPECTED_NAME = f"≤ {MAX_NAME} characters"

_LINE = frozenset((
    "kind", "code", "number", "date", "region", "amount", "tax", "total", "check_code", "status",
    "seller_tax_id", "seller_name", "buyer_tax_id", "buyer_name", "red_letter_of", "red_letters",
    "issued_at",
))  # fmt: skip
_STATUS_LINE = frozenset(("code", "number", "status", "red_letter"))


def canonical(given: Mapping[str, Any]) -> dict[str, Any] | Invalid:
    """A line's members in canonical form (absent ones left out), or what is wrong with it."""
    checks = _Checks(given, _LINE)
    checks.line()
    return checks.outcome()


def canonical_status(given: Mapping[str, Any]) -> dict[str, Any] | Invalid:
    """The same for a line that gives an invoice another status."""
    checks = _Checks(given, _STATUS_LINE)
    checks.status_line()
    return checks.outcome()


class _Checks:
    def __init__(self, given: Mapping[str, Any], known: Set[str]) -> None:
        self.whole, self.known = given, known
        # Here null means that the member is absent.
        self.given = {name: value for name in known if (value := given.get(name)) is not None}
        self.errors = flaws(self.given)
        self.values: dict[str, Any] = {}

    def outcome(self) -> dict[str, Any] | Invalid:
        if not self.errors and self.whole.keys() <= self.known:
            return self.values
        errors, more = listed(self.errors.values(), self.whole, self.known)
        return Invalid(errors, more_errors=more)

    def status_line(self) -> None:
        self.identity(None)
        code, number = self.values.get("code"), self.values.get("number")
        if number and len(number) == DIGITAL_LENGTH and code:
            self.fail("code", "not_applicable")
        elif number and len(number) == NUMBER_LENGTH and not code and "code" not in self.errors:
            self.fail("code", "required", fields.EXPECTED_CODE)
        self.take("status", self.status, required=" ".join(STATUSES))
        self.take("red_letter", self.reference)

    def line(self) -> None:
        name = self.take("kind", self.kind, required=" ".join(KINDS))
        kind = KINDS[name] if name else None
        self.identity(kind)
        self.take("date", self.date, required=fields.EXPECTED_DATE)
        for field in ("amount", "tax", "total"):
            self.take(field, self.money, required=fields.EXPECTED_MONEY)
        self.take("status", self.status, required=" ".join(STATUSES))
        self.check_code(kind)
        for party in ("seller", "buyer"):
            self.take(f"{party}_tax_id", self.tax_id)
            self.take(f"{party}_name", self.name)
        self.take("issued_at", self.moment)
        self.take("red_letter_of", self.reference)
        self.take("red_letters", self.references)

    def fail(self, field: str, code: str, expected: str = "") -> None:
        self.errors[field] = FieldError(field, code, expected)

    def take(
        self, field: str, check: Callable[[str, Any], Any], required: str | None = None
    ) -> Any:
        """The checked value of a field, None when it is absent or bad.

        A field that must be there has ``required``: what is expected of it.
        """
        if field in self.errors:
            return None
        value = self.given.get(field)
        if value is None or (value == "" and required is not None):
            if required is not None:
                self.fail(field, "required", required)
            return None
        value = check(field, value)
        if field in self.errors:
            return None
        self.values[field] = value
        return value

    def kind(self, field: str, value: Any) -> Any:
        if not isinstance(value, str) or value not in KINDS:
            self.fail(field, "unknown_kind", " ".join(KINDS))
        return value

    def status(self, field: str, value: Any) -> Any:
        if value not in STATUSES:
            self.fail(field, "bad_format", " ".join(STATUSES))
        return value

    def date(self, field: str, value: Any) -> Any:
        if not isinstance(value, str) or not is_date(value):
            self.fail(field, "bad_format", fields.EXPECTED_DATE)
        return value

    def moment(self, field: str, value: Any) -> Any:
        if not isinstance(value, str) or not is_moment(value):
            self.fail(field, "bad_format", _EXPECTED_MOMENT)
        return value

    def money(self, field: str, value: Any) -> Any:
        """Text in plain digits, or a JSON number by its value."""
        if not (_MONEY.fullmatch(value) if isinstance(value, str) else type(value) in _NUMBERS):
            self.fail(field, "bad_format", fields.EXPECTED_MONEY)
            return value
        money = fields.parse_money(field, value)
        if isinstance(money, FieldError):
            self.errors[field] = money
        return money

    def tax_id(self, field: str, value: Any) -> Any:
        if not isinstance(value, str) or _TAX_ID.fullmatch(value) is None:
            self.fail(field, "bad_format", _EXPECTED_TAX_ID)
        elif len(value) > MAX_TAX_ID:
            self.fail(field, "bad_length", _EXPECTED_TAX_ID)
        return value

    def name(self, field: str, value: Any) -> Any:
        if not isinstance(value, str):
            self.fail(field, "bad_format", _EXPECTED_NAME)
        elif len(value) > MAX_NAME:
            self.fail(field, "bad_length", _EXPECTED_NAME)
        return value

    def check_code(self, kind: Kind | None) -> None:
        if kind is None:
            return
        form = kind.check_code
        expected = form.expected if kind.has_check_code else f"0 / {form.expected}"

        def check(field: str, value: Any) -> Any:
            if not isinstance(value, str) or not re.fullmatch(
                f"{form.character}*", value, re.ASCII
            ):
                self.fail(field, "bad_format", expected)
            elif value and len(value) != form.length:
                self.fail(field, "bad_length", expected)
            return value

        self.take("check_code", check, required=expected if kind.has_check_code else None)

    def digits(self, field: str, value: Any, lengths: tuple[int, ...]) -> bool:
        """Whether the value is so many digits and not only zeros; reports what is wrong."""
        if not (isinstance(value, str) and value.isascii() and value.isdigit()):
            wrong = "bad_format"
        elif len(value) not in lengths:
            wrong = "bad_length"
        elif value == NO_NUMBER:
            wrong = "bad_format"
        else:
            return True
        self.fail(field, wrong, digits_of(lengths))
        return False

    def identity(self, kind: Kind | None) -> None:
        """Code, number and region; without a sound kind, whatever some kind allows passes."""
        codes = kind.code_lengths if kind else CODE_LENGTHS
        numbers = (kind.number_length,) if kind else NUMBER_LENGTHS
        region: str | None = None

        def check_code(field: str, value: Any) -> Any:
            nonlocal region
            if value == "":
                return value
            if not codes:
                self.fail(field, "not_applicable")
            elif self.digits(field, value, codes):
                region = region_of_code(value)
                if region is None:
                    self.fail(field, "unknown_region")
            return value

        def check_number(field: str, value: Any) -> Any:
            nonlocal region
            if self.digits(field, value, numbers) and len(value) == DIGITAL_LENGTH:
                region = region_of_number(value)
                if region is None:
                    self.fail(field, "unknown_region")
            return value

        def check_region(field: str, value: Any) -> Any:
            if not isinstance(value, str) or value not in REGIONS:
                self.fail(field, "unknown_region")
            elif region is not None and value != region:
                self.fail(field, "bad_format", region)
            return value

        needs_code = digits_of(codes) if kind and codes else None
        self.take("code", check_code, required=needs_code)
        self.take("number", check_number, required=digits_of(numbers))
        self.take("region", check_region)

    def reference(self, field: str, value: Any) -> Any:
        """Another invoice: an object with ``number`` and, unless it has 20 digits, ``code``."""
        if isinstance(value, dict) and not value.keys() - {"code", "number"}:
            code, number = value.get("code") or "", value.get("number")
            if isinstance(code, str) and isinstance(number, str):
                key = canonical_key(code, number)
                itself = (self.given.get("code") or "", self.given.get("number"))
                if key and (code, number) != itself:
                    return {"code": code, "number": number}
        self.fail(field, "bad_format", _EXPECTED_REFERENCE)
        return value

    def references(self, field: str, value: Any) -> Any:
        if not isinstance(value, list):
            self.fail(field, "bad_format", f"[{_EXPECTED_REFERENCE}]")
        elif len(value) > MAX_RED_LETTERS:
            self.fail(field, "bad_length", f"≤ {MAX_RED_LETTERS}")
        else:
            return [self.reference(field, item) for item in value]
        return value
