"""Watches the service from a process of its own: ``python -m loadtests.locust_users.watcher``.

To read /metrics takes some 15 ms a second, which the answers of Locust's users would wait for.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

import msgspec

from loadtests.generator.connections import Address
from loadtests.processes import python
from loadtests.result import Service
from loadtests.revisions import ROOT
from loadtests.watching import Watch

_Seconds = dict[int, Service]


class Watcher:
    """Watches from ``origin`` on, by the monotonic clock; ``seconds`` are there when it is left."""

    def __init__(self, address: Address, origin: float) -> None:
        self._command = python("-m", __name__, address[0], str(address[1]), str(origin))
        self.seconds: Mapping[int, Service] = {}

    def __enter__(self) -> Self:
        # A session of its own: Ctrl-C is for Locust, which ends this by itself.
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        said, _ = self._process.communicate()
        # One that has failed has said why on the terminal; the load is none the worse for it.
        if self._process.returncode == 0:
            self.seconds = msgspec.json.decode(said, type=_Seconds)


def main() -> None:
    """Watch until the other side closes the pipe, and say what was seen."""
    host, port, origin = sys.argv[1:]
    with Watch((host, int(port)), float(origin), dict) as watch:
        sys.stdin.read()
    # Nobody listens when Locust was killed.
    with suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), msgspec.json.encode(watch.seconds))


if __name__ == "__main__":
    main()
