"""Parse: from the members of a question to a claim, or to all that is wrong with them.

Every bad field is reported once, and what depends on a bad field is not reported again
(contract.md §2): a malformed code brings no ``kind_needed``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

from verifier.invoice import fields, hints, qr
from verifier.invoice.claim import FIELDS, Claim, Invalid, reference_of
from verifier.invoice.codes import kind_of_code, region_of
from verifier.invoice.fields import FieldError
from verifier.invoice.flaws import flaws
from verifier.invoice.hints import Hint
from verifier.invoice.identity import DIGITAL_LENGTH, key_of
from verifier.invoice.kinds import DIGITAL_FACTORS, KINDS
from verifier.invoice.names import listed

_ALL_KINDS = " ".join(KINDS)
_PLAIN_MONEY = re.compile(r"-?\d+(\.\d*)?", re.ASCII)
_COMPACT_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})", re.ASCII)
_QR_FORM = "01,<type>,<code>,<number>,<amount>,<yyyymmdd>,<check code>"


def parse(given: Mapping[str, Any], oldest: str, today: str) -> Claim | Invalid:
    """Repair and parse a question given as a mapping of its JSON members.

    ``oldest`` and ``today`` bound the issue date (ISO, Asia/Shanghai).
    """
    parser = _Parser(given)
    parser.check_reference()
    presumed = parser.scan()
    parser.read_identity()
    parser.read_particulars(oldest, today)
    kind = parser.kind_to_check(presumed)
    parser.read_check_code(kind)
    parser.check_required(kind)
    parser.add_hints()
    return parser.outcome()


class _Parser:
    """Values, errors and hints of one question; lives for one call of ``parse``."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.whole = given
        # null and "" both mean "not supplied": ledgers and forms write either.
        self.given = {name: value for name, value in given.items() if value not in (None, "")}
        self.values: dict[str, str] = {}
        self.flawed = {name: error for name, error in flaws(self.given).items() if name in FIELDS}
        self.errors = list(self.flawed.values())
        self.hints: list[Hint] = []
        # By length alone: a bad number of 20 digits is of the digital family too.
        self.digital = False

    def fail(self, field: str, code: str, expected: str = "") -> None:
        self.errors.append(FieldError(field, code, expected))

    def sound(self, field: str) -> Any:
        """The value of a field, None when it is absent or has a flaw (flaws.py)."""
        return None if field in self.flawed else self.given.get(field)

    def check_reference(self) -> None:
        reference = self.sound("reference")
        if reference is not None and reference_of(self.given) is None:
            wrong = "bad_length" if isinstance(reference, str) else "bad_format"
            self.fail("reference", wrong, f"≤ {fields.MAX_REFERENCE}")

    def scan(self) -> str | None:
        """Fill in what the QR code alone says; return the kind that it presumes."""
        text = self.sound("qr")
        if text is None:
            return None
        if not isinstance(text, str) or len(text) > fields.MAX_QR:
            self.fail("qr", "bad_format" if not isinstance(text, str) else "bad_length")
            return None
        narrowed = fields.narrow(text).strip()
        scan = qr.parse(narrowed)
        if scan is None:
            self.fail("qr", "bad_format", _QR_FORM)
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

    def read_text(
        self, field: str, parse: Callable[[str], str | FieldError], expected: str
    ) -> None:
        """Keep the canonical value of a text field; one that is absent or bad has none."""
        value = self.sound(field)
        if value is None:
            return
        parsed = (
            parse(value) if isinstance(value, str) else FieldError(field, "bad_format", expected)
        )
        self._settle(field, parsed, repaired=parsed != value)

    def read_money(self, field: str) -> None:
        """The same for an amount. JSON numbers are repairs; ``88`` for ``88.00`` is none."""
        value = self.sound(field)
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            parsed: str | FieldError = FieldError(field, "bad_format", fields.EXPECTED_MONEY)
        else:
            parsed = fields.parse_money(field, value)
        plain = isinstance(value, str) and _PLAIN_MONEY.fullmatch(value) is not None
        self._settle(field, parsed, repaired=not plain)

    def _settle(self, field: str, parsed: str | FieldError, *, repaired: bool) -> None:
        if isinstance(parsed, FieldError):
            self.errors.append(parsed)
            return
        self.values[field] = parsed
        if repaired:
            self.hints.append(Hint("repaired", field))

    def read_identity(self) -> None:
        self.read_text("number", fields.parse_number, fields.EXPECTED_NUMBER)
        number = self.given.get("number")
        self.digital = isinstance(number, str) and len(fields.tidy_digits(number)) == DIGITAL_LENGTH
        if not self.digital:
            self.read_text("code", fields.parse_code, fields.EXPECTED_CODE)
        elif self.sound("code") is not None:
            self.fail("code", "not_applicable")

    def read_particulars(self, oldest: str, today: str) -> None:
        date = partial(fields.parse_date, oldest=oldest, today=today)
        self.read_text("kind", fields.parse_kind, _ALL_KINDS)
        self.read_text("date", date, fields.EXPECTED_DATE)
        self.read_money("amount")
        self.read_money("total")
        for field in ("seller_tax_id", "buyer_tax_id"):
            self.read_text(field, partial(fields.parse_tax_id, field), fields.EXPECTED_TAX_ID)

    def kind_to_check(self, presumed: str | None) -> str | None:
        """The kind whose factors are required; None when that rests on a bad or missing field."""
        if "kind" in self.given:
            return self.values.get("kind")
        code = self.values.get("code")
        return None if code is None else kind_of_code(code) or presumed

    def read_check_code(self, kind: str | None) -> None:
        parse = partial(fields.parse_check_code, kind=kind)
        self.read_text("check_code", parse, fields.EXPECTED_CHECK_CODE)

    def check_required(self, kind: str | None) -> None:
        """Report what must be there, as far as the fields that decide it are sound."""
        if any(error.field == "qr" for error in self.errors):
            return
        required = ["number", "date"]
        if self.digital:
            required += DIGITAL_FACTORS
        else:
            if "number" in self.values:
                required.append("code")
            if kind is not None:
                required += KINDS[kind].factors
            elif "code" in self.values and "kind" not in self.given:
                self.fail("kind", "kind_needed", _ALL_KINDS)
        for field in required:
            if field not in self.given:
                self.fail(field, "required")

    def add_hints(self) -> None:
        values = self.values
        number, code, kind = values.get("number"), values.get("code", ""), values.get("kind")
        found = [
            hints.tax_id_check_digit(field, values[field])
            for field in ("seller_tax_id", "buyer_tax_id")
            if field in values
        ]
        if number is not None and "date" in values:
            found.append(hints.number_year(number, values["date"]))
        if kind is not None and number is not None and (code or self.digital):
            found.append(hints.kind_differs_from_code(kind, code))
        self.hints += [hint for hint in found if hint is not None]

    def outcome(self) -> Claim | Invalid:
        said = tuple(self.hints)
        # A misspelt field must not silently weaken the check.
        if self.errors or not self.whole.keys() <= FIELDS:
            errors, more = listed(self.errors, self.whole, FIELDS)
            return Invalid(errors, said, more)
        # Without an error number and date are there, and their region is known.
        values = self.values
        code, number = values.get("code", ""), values["number"]
        region = region_of(code, number)
        assert region is not None
        return Claim(
            key_of(code, number),
            region,
            values["date"],
            values.get("kind"),
            values.get("amount"),
            values.get("total"),
            values.get("check_code"),
            values.get("seller_tax_id"),
            values.get("buyer_tax_id"),
            reference_of(self.whole),
            said,
        )
