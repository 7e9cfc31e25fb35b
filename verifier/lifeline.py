"""Processes that do not outlive the one which asked for them, and the news that one has ended.

As a script it becomes an unprivileged program bound so:
``lifeline.py PARENT SIGNAL UID GID DIRECTORY COMMAND...`` (UID -1: stay who we are). A script of
its own rather than a ``preexec_fn``: code between fork and exec may deadlock in a program with
threads. It imports nothing of the package, and the process id stays the same.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

_PR_SET_PDEATHSIG = 1


def die_with(parent: int, signum: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel signal this process when the process ``parent`` ends, however it ends.

    SystemExit when that has happened already.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        sys.exit("verifier: the process that asked for this one has ended")


def ended(pid: int) -> asyncio.Future[None]:
    """Done when a process, ours or not, has ended. To cancel it stops watching."""
    # The script does without it, and starts ten times as fast.
    import asyncio

    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        future.set_result(None)
        return future

    def is_readable() -> None:
        if not future.done():
            future.set_result(None)

    def close(_: asyncio.Future[None]) -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)

    loop.add_reader(descriptor, is_readable)
    future.add_done_callback(close)
    return future


def main(arguments: list[str]) -> None:
    """Enter the directory, drop to the user, bind our life to the parent's, and exec."""
    parent, signum, uid, gid = (int(argument) for argument in arguments[:4])
    # Entered while still privileged: its parents (a home directory, pytest's 0700 directories) may
    # be closed to the user. From here on everything is reached through /proc/self/cwd.
    os.chdir(arguments[4])
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    os.umask(0o077)
    # After setuid, which clears it.
    die_with(parent, signal.Signals(signum))
    os.execv(arguments[5], arguments[5:])


if __name__ == "__main__":
    main(sys.argv[1:])
