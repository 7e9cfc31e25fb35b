"""``python -m verifier.config`` prints the table of settings for docs/configuration.md."""

from __future__ import annotations

import inspect
from typing import Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from verifier.config import PREFIX, Config


def _default(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _range(given: type, limits: Meta) -> str:
    """What a value may be, as far as the setting says."""
    if get_origin(given) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(given))
    least = f"≥ {limits.ge}" if limits.ge is not None else ""
    least = least or (f"> {limits.gt}" if limits.gt is not None else "")
    most = f"≤ {limits.le}" if limits.le is not None else ""
    return ", ".join(filter(None, (least, most)))


def table() -> str:
    """The settings as a Markdown table: variable, default, range, what it bounds."""
    rows = ["| variable | default | range | what it is |", "|---|---|---|---|"]
    for section in msgspec.structs.fields(Config):
        rows.append(f"| **{section.type.__name__}** | | | {inspect.getdoc(section.type)} |")
        for field in msgspec.structs.fields(section.type):
            given, limits = get_args(field.type)[0], field.type.__metadata__[0]
            name, default = f"{PREFIX}{field.name.upper()}", _default(field.default)
            text = limits.description
            rows.append(f"| `{name}` | `{default}` | {_range(given, limits)} | {text} |")
    return "\n".join(rows).replace("``", "") + "\n"


if __name__ == "__main__":
    print(table(), end="")
