"""A cluster to damage: made once, copied for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.embedded.support import ask, cluster_in
from tests.support import run


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a stopped cluster with one replica and a table ``t``."""

    async def make(data: Path) -> None:
        async with cluster_in(data) as cluster:
            await ask(cluster.primary, "CREATE TABLE t AS SELECT 1 AS n")

    data = tmp_path_factory.mktemp("template") / "data"
    run(make(data))
    return data


@pytest.fixture
def stopped(template: Path, tmp_path: Path) -> Path:
    """Copy the stopped cluster. As root the copy is root's, which a start has to mend."""
    return shutil.copytree(template, tmp_path / "data", symlinks=True)
