"""Revisions laid out beside the work tree, and a service that is started from one."""

from __future__ import annotations

import subprocess
from pathlib import Path
from urllib.request import urlopen

import pytest

from loadtests.revisions import ROOT, NoRevision, export
from loadtests.target import own


def test_packages_of_a_revision_are_laid_out(tmp_path: Path) -> None:
    """What is asked for is there, and nothing else."""
    if subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], check=False).returncode:
        pytest.skip("this tree is no clone")
    tree = export("HEAD", ["verifier", "bench"], tmp_path / "old")
    assert (tree / "verifier" / "__init__.py").is_file()
    assert (tree / "bench" / "driver.py").is_file()
    assert not (tree / "tests").exists()


def test_a_revision_that_is_not_here_is_named(tmp_path: Path) -> None:
    """A typing error, or a shallow clone."""
    with pytest.raises(NoRevision, match="no-such-revision is not here: "):
        export("no-such-revision", ["verifier"], tmp_path / "other")


def test_a_tree_serves_its_own_code(tmp_path: Path) -> None:
    """Supervisor and workers are of the tree, whatever is installed."""
    tree = export("", ["verifier"], tmp_path / "tree")
    module = tree / "verifier" / "__init__.py"
    module.write_text(module.read_text().replace('__version__ = "', '__version__ = "9.'))
    with (
        own(1_000, 2, {}, data=tmp_path, tree=tree) as target,
        urlopen(f"http://{target.host}/metrics", timeout=10) as answer,
    ):
        assert b'version="9.' in answer.read()
