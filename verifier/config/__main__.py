"""``python -m verifier.config`` prints the table of settings for docs/configuration.md."""

from __future__ import annotations

from verifier.config import PREFIX, fields


def _default(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def table() -> str:
    """The settings as a Markdown table: variable, default, what it bounds."""
    rows = ["| variable | default | what it is and bounds |", "|---|---|---|"]
    for field in fields():
        text = next(meta.description for meta in field.type.__metadata__)
        rows.append(f"| `{PREFIX}{field.name.upper()}` | `{_default(field.default)}` | {text} |")
    return "\n".join(rows).replace("``", "") + "\n"


if __name__ == "__main__":
    print(table(), end="")
