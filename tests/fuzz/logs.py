"""What a log may say, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from tests.fuzz.samples import secrets
from verifier.wire.problems import PROBLEMS

# Members of lines, and what they may be. Whatever is of no such form may come from a request.
_FORMS = {
    "event": re.compile(r"[A-Za-z][A-Za-z ,:%<-]{0,60}"),
    "level": re.compile("debug|info|warning|error"),
    "timestamp": re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"),
    "id": re.compile("[0-9a-f]{16}"),
    "code": re.compile("|".join([*PROBLEMS, "too_many_connections"])),
    "error": re.compile("[A-Za-z.]+"),
    "database": re.compile(r"primary|replica-\d"),
    "setting": re.compile("VERIFIER_AUTH=off"),
    "role": re.compile("primary|replica"),
}


def faults(log: Iterable[bytes]) -> list[str]:
    """Each line of a log that holds what was sent, or may."""
    hidden = secrets()
    return [
        said
        for line in log
        if (said := _fault(line) or _leak(line.lower(), hidden))  # each line is looked at twice
    ]


def _leak(line: bytes, hidden: Iterable[bytes]) -> str:
    found = next((secret for secret in hidden if secret in line), None)
    return "" if found is None else f"holds {found!r}: {line[:300]!r}"


def _fault(line: bytes) -> str:
    try:
        said: dict[str, Any] = json.loads(line)
    except ValueError:
        return f"no JSON: {line[:300]!r}"
    for name, value in said.items():
        form = _FORMS.get(name)
        if name in ("rows", "seconds", "suppressed") and isinstance(value, int | float):
            continue
        if form is None or not isinstance(value, str) or form.fullmatch(value) is None:
            return f"{name} that may be anything: {line[:300]!r}"
    return ""
