"""What is generated for readers is what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from verifier.config.__main__ import table
from verifier.metrics import __main__ as metrics

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


def test_configuration_page_is_current() -> None:
    """The table at the end of docs/configuration.md is the one that Config gives (make docs)."""
    page = (DOCS / "configuration.md").read_text()
    assert page[page.index("| variable") :] == table()


def test_metrics_page_is_current() -> None:
    """The table at the end of docs/metrics.md is the one that the catalog gives (make docs)."""
    page = (DOCS / "metrics.md").read_text()
    assert page[page.index("| metric") :].rstrip("\n") == metrics.table()


_MODULE = re.compile(r"`((?:[a-z_]+/)+[a-z_]+\.py)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_that_a_page_names_are_there(page: Path) -> None:
    """A reader who goes where a page points to finds it, under the root or in the package."""
    named = set(_MODULE.findall(page.read_text()))
    missing = {
        name
        for name in named
        if not (ROOT / name).exists() and not (ROOT / "verifier" / name).exists()
    }
    assert missing == set()
