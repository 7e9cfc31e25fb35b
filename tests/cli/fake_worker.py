"""A worker made by hand: ``fake_worker.py JOURNAL MODE`` and what a supervisor adds.

It notes what happens to it in the file JOURNAL. Modes: steady; deaf (ignores SIGTERM); brief
(ends at once); silent (never ready); tied (dies with its parent). The variable MODE, which a
reload can change, is taken instead where it is set.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Behave as the mode says."""
    journal, mode, *more = sys.argv[1:]
    mode = os.environ.get("MODE", mode)
    succeeds = more[0] == "--successor"
    _, _, _, ready, _, _, _, parent = more[succeeds:]
    file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(event: str) -> None:
        os.write(file, f"{event} {os.getpid()}\n".encode())

    def end(signum: int, _frame: FrameType | None) -> None:
        note(signal.Signals(signum).name)
        if mode != "deaf":
            sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGUSR1, end)
    note("successor" if succeeds else "start")
    if mode == "brief":
        sys.exit(3)
    if mode == "tied":
        from verifier.lifeline import die_with

        die_with(int(parent))
    if mode != "silent":
        note("ready")
        os.write(int(ready), b"ready\n")
        os.close(int(ready))
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
