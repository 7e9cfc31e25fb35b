"""net/http and a pgx pool, in Go: ``python -m bench.peers.golang``, where Go is installed.

Debian's packages golang-go and golang-github-jackc-pgx-v4-dev have all that it takes. It answers
canonical questions only (main.go), which are what the rate is measured with.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from verifier.invoice.codes import CITIES, NUMBER_REGIONS

HOW_TO_INSTALL = (
    "Go is not installed (Debian's packages golang-go and golang-github-jackc-pgx-v4-dev)"
)

_SOURCE = Path(__file__).parent / "go" / "main.go"
# Where Debian keeps the sources of Go's libraries.
_LIBRARIES = Path("/usr/share/gocode")


def available() -> bool:
    """Whether it can be built here."""
    return (
        shutil.which("go") is not None
        and (_LIBRARIES / "src/github.com/jackc/pgx/v4/pgxpool").is_dir()
    )


def main() -> None:
    """Build it, and become it."""
    if not available():
        sys.exit(HOW_TO_INSTALL)
    with tempfile.TemporaryDirectory(prefix="bench-go-") as folder:
        binary = Path(folder) / "peer"
        environ = os.environ | {
            "GO111MODULE": "off",
            "GOPATH": str(_LIBRARIES),
            "GOCACHE": str(Path(folder) / "cache"),
            "CGO_ENABLED": "0",
        }
        subprocess.run(["go", "build", "-o", binary, _SOURCE], env=environ, check=True)
        # It stays what it is when its file has gone.
        program = os.open(binary, os.O_RDONLY)
    os.environ["BENCH_REGIONS"] = msgspec.json.encode(
        {"numbers": NUMBER_REGIONS, "cities": sorted(CITIES)}
    ).decode()
    os.execve(program, ["peer"], os.environ)


if __name__ == "__main__":
    main()
