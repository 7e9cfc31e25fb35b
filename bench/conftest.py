"""Each ``test_*.py`` here has its hot paths in ``CASES``; they are timed one by one."""

from __future__ import annotations

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Time every case of a file; those of one file are shown together."""
    if "case" in metafunc.fixturenames:
        cases = metafunc.module.CASES
        metafunc.parametrize("case", cases.values(), ids=cases)
