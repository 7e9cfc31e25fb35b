"""The summary of what was sent and answered, at the end of a run."""

from __future__ import annotations

import pytest

from verifier.app.service import Service
from verifier.config import Config

SUMMARY = pytest.StashKey[list[str]]()


@pytest.fixture
def summary(pytestconfig: pytest.Config) -> list[str]:
    """Give the lines of the summary; each test adds its own."""
    return pytestconfig.stash.setdefault(SUMMARY, [])


@pytest.fixture
def built() -> Service:
    """Give a service that is wired but not started."""
    return Service(Config.of(primary_dsn="postgresql:///nowhere", auth="off"))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Print it."""
    lines = config.stash.get(SUMMARY, [])
    if lines:
        terminalreporter.section("fuzz")
        for line in lines:
            terminalreporter.write_line(line)
