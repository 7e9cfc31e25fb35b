"""Become an unprivileged PostgreSQL program that does not outlive the process which asked for it.

Run as a script: ``launch.py PARENT UID GID DIRECTORY COMMAND...`` (UID -1: stay who we are). A
script of its own rather than a ``preexec_fn``: code between fork and exec may deadlock in a
program with threads. It imports nothing of the package, and the process id stays the same.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Enter the directory, drop to the user, bind our life to the parent's, and exec."""
    parent, uid, gid = (int(argument) for argument in arguments[:3])
    # Entered while still privileged: its parents (a home directory, pytest's 0700 directories) may
    # be closed to the user. From here on everything is reached through /proc/self/cwd.
    os.chdir(arguments[3])
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    os.umask(0o077)
    # After setuid, which clears it. SIGQUIT ends a postmaster at once, even with a hung backend;
    # the next start then recovers from the WAL, which loses nothing that was committed.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGQUIT), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        sys.exit("the process that asked for this one has ended")
    os.execv(arguments[4], arguments[4:])


if __name__ == "__main__":
    main(sys.argv[1:])
