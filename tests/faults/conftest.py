"""Fixtures of the fault suite, and its table at the end of the run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults import report
from tests.faults.ground import Ground
from tests.faults.scenario import FULL, Row, form
from tests.faults.service import Service
from tests.support import run

ROWS = pytest.StashKey[list[Row]]()


@pytest.fixture
def rows(pytestconfig: pytest.Config) -> list[Row]:
    """Give the lines of the table so far; each scenario adds its own."""
    return pytestconfig.stash.setdefault(ROWS, [])


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Run the cluster that most scenarios share."""
    yield from grounded(tmp_path_factory)


@pytest.fixture(scope="session")
def service(ground: Ground) -> Iterator[Service]:
    """Run the service that most scenarios share, straight over the servers."""
    with ground.service() as service:
        yield service


def grounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A cluster with a ledger while a fixture lives."""
    ground = Ground(tmp_path_factory.mktemp("faults"))
    run(ground.start())
    yield ground
    run(ground.cluster.stop())


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Print the table; a full run that passed writes it into the page as well."""
    rows = config.stash.get(ROWS, [])
    if rows:
        terminalreporter.section("faults")
        terminalreporter.write_line(report.text(rows))
    everything = config.args == ["tests/faults"] and config.option.keyword == ""
    if rows and form() is FULL and exitstatus == 0 and everything:
        report.write(rows, FULL)
