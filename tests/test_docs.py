"""What is generated for readers is what the code says."""

from __future__ import annotations

from pathlib import Path

from verifier.config.__main__ import table
from verifier.metrics import __main__ as metrics

DOCS = Path(__file__).parents[1] / "docs"


def test_configuration_page_is_current() -> None:
    """The table at the end of docs/configuration.md is the one that Config gives (make docs)."""
    page = (DOCS / "configuration.md").read_text()
    assert page[page.index("| variable") :] == table()


def test_metrics_page_is_current() -> None:
    """The table at the end of docs/metrics.md is the one that the catalog gives (make docs)."""
    page = (DOCS / "metrics.md").read_text()
    assert page[page.index("| metric") :].rstrip("\n") == metrics.table()
