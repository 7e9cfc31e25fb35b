"""What is generated for readers is what the code says."""

from __future__ import annotations

from pathlib import Path

from verifier.config import table

CONFIGURATION = Path(__file__).parents[1] / "docs" / "configuration.md"


def test_configuration_page_is_current() -> None:
    """The table at the end of docs/configuration.md is the one that Config gives (make docs)."""
    page = CONFIGURATION.read_text()
    assert page[page.index("| variable") :] == table()
