"""Members of answers as JSON has them: moments, errors, hints."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from verifier.invoice.fields import FieldError
from verifier.invoice.hints import Hint
from verifier.wire.messages import Language, error_message, hint_message


def iso(moment: float) -> str:
    """Seconds since the epoch as ``2026-11-24T02:00:00.123Z``."""
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def errors_json(errors: Iterable[FieldError], more: int, language: Language) -> dict[str, Any]:
    """``errors`` of a problem, a result or a line, and ``more_errors`` if not all are listed."""
    listed = [
        {
            "field": error.field,
            "code": error.code,
            "message": error_message(error, language),
            "expected": error.expected,
        }
        for error in errors
    ]
    return {"errors": listed, "more_errors": more} if more else {"errors": listed}


def hints_json(hints: Iterable[Hint], language: Language) -> list[dict[str, Any]]:
    """The ``hints`` member of an answer."""
    shown = []
    for hint in hints:
        entry: dict[str, Any] = {
            "code": hint.code,
            "field": hint.field,
            "message": hint_message(hint, language),
        }
        if hint.first_index is not None:
            entry["first_index"] = hint.first_index
        shown.append(entry)
    return shown
