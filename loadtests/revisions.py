"""A revision of this project, laid out in a folder to be run beside the work tree. Also bench's."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).parent.parent


class NoRevision(Exception):
    """There is nothing to compare with: a first commit, or a shallow clone without its parent."""


def export(revision: str, packages: Sequence[str], into: Path) -> Path:
    """Lay out packages of a revision, a folder or, for "", the work tree. NoRevision without it."""
    into.mkdir()
    source = Path(revision or ROOT)
    if (source / "verifier" / "__init__.py").is_file():
        ignored = shutil.ignore_patterns("__pycache__")
        for package in packages:
            shutil.copytree(source / package, into / package, ignore=ignored)
    else:
        archive = subprocess.run(
            ["git", "-C", str(ROOT), "archive", revision, *packages],
            capture_output=True,
            check=False,
        )
        if archive.returncode:
            raise NoRevision(f"{revision} is not here: {archive.stderr.decode().strip()}")
        with tarfile.open(fileobj=BytesIO(archive.stdout)) as packed:
            packed.extractall(into, filter="data")
    return into
