"""The data directory of a cluster: whose it is, its lock, the way to its sockets.

    DATA/cluster.json     marks the directory as ours, and its format
    DATA/lock             held (flock) while a process owns the cluster; names that process
    DATA/primary/         and replica-1/, replica-2/ ...: one PostgreSQL data directory each, which
                          also holds the server's Unix socket; only its owner can enter
    DATA/primary.log      and so on; the one before is primary.log.1
    DATA/*.part, *.old    being built or replaced; swept at the next start

No file in it holds an absolute path, so the directory may be moved while it is stopped.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pwd
import stat
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from verifier.embedded.binaries import Account
from verifier.errors import ClusterError

MARKER = "cluster.json"
FORMAT = 1
# Longest path of a Unix socket on Linux (sun_path without its NUL), in bytes.
SOCKET_PATH_MAX = 107
# Whom root's servers run as, unless the directory belongs to a normal user. Other services that
# run as nobody could enter, so a shared machine should give the directory an owner of its own.
UNPRIVILEGED = "nobody"
# How long (seconds) children that an owner has left behind may keep its lock.
LOCK_PATIENCE = 10.0
# May be in a directory that is still to become ours: a mounted disk brings the second.
_IGNORED = frozenset({"lock", "lost+found", f"{MARKER}.part"})


class DataDirectory:
    """Checks, marks and locks a directory. What is wrong with it is a ClusterError that names it.

    ``account`` (who PostgreSQL runs as, None for ourselves) is known once it is open.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.account: Account | None = None
        # The same directory, by a path that is short enough for the sockets in it.
        self._short = self.path
        self._alias: Path | None = None
        self._lock: int | None = None

    def open(self) -> None:
        """Make it ours, or say why not; afterwards it is locked against every other process.

        Blocks for up to LOCK_PATIENCE while the children of a dead owner end.
        """
        if sys.platform != "linux":
            raise ClusterError(
                f"the embedded PostgreSQL runs on Linux only, not on {sys.platform}; name running "
                "servers in VERIFIER_PRIMARY_DSN and VERIFIER_REPLICA_DSNS instead"
            )
        try:
            if not self.path.is_dir():
                self.path.mkdir(parents=True, mode=0o700)
            fresh = self._recognise()
            self.account = self._choose_account()
            self._acquire()
            if fresh:
                self._mark()
            status = self.path.stat()
            if self.account is not None and status.st_uid != self.account.uid:
                # Replicas pass through on their way to the primary's socket, but cannot list.
                self.path.chmod(stat.S_IMODE(status.st_mode) | 0o011)
            self._shorten()
        except OSError as error:
            raise ClusterError(
                f"the data directory {self.path} cannot be used: {error}; "
                "expected one that this user can write, or a place to make it"
            ) from error

    def close(self) -> None:
        """Let others have it. Harmless when it is not open."""
        if self._alias is not None:
            self._alias.unlink(missing_ok=True)
            self._alias = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def dsn(self, server: str, port: int, database: str) -> str:
        """Return a DSN for asyncpg and libpq, through the private socket of the server."""
        host = quote(str(self._short / server))
        return f"postgresql://verifier@/{quote(database)}?host={host}&port={port}"

    def touch(self, name: str, flags: int) -> int:
        """Open a file for us alone, made if need be; a descriptor.

        It gets the directory's owner, so that a start as root does not lock that user out.
        """
        flags |= os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.path / name, flags, 0o600)
        if os.geteuid() == 0:
            status = self.path.stat()
            os.fchown(descriptor, status.st_uid, status.st_gid)
        return descriptor

    def own(self, directory: Path) -> None:
        """Give a server's directory, with all that is in it, to the account if it is not yet."""
        if self.account is None or directory.stat().st_uid == self.account.uid:
            return
        uid, gid, _ = self.account
        for folder, _, files in os.walk(directory, topdown=False):
            for name in files:
                os.chown(os.path.join(folder, name), uid, gid, follow_symlinks=False)
            # The top comes last: it is what the check above looks at.
            os.chown(folder, uid, gid, follow_symlinks=False)

    def sync(self) -> None:
        """Make renames within the directory durable."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _recognise(self) -> bool:
        """Return True for an empty directory, False for one of ours."""
        try:
            text = (self.path / MARKER).read_text()
        except FileNotFoundError:
            found = sorted(set(os.listdir(self.path)) - _IGNORED)
            if found:
                raise ClusterError(
                    f"{self.path} is not a data directory of this program: it has "
                    f"{', '.join(found[:3])}, but no {MARKER}; expected an empty directory"
                ) from None
            return True
        try:
            ours = json.loads(text) == {"format": FORMAT}
        except ValueError:
            ours = False
        if not ours:
            raise ClusterError(
                f"{self.path / MARKER} says {text[:80]!r}; this program expects format {FORMAT}"
            )
        return False

    def _choose_account(self) -> Account | None:
        server = self.path / "primary"
        owner = (server if server.exists() else self.path).stat().st_uid
        me = os.geteuid()
        if me:
            if owner != me:
                raise ClusterError(
                    f"{self.path} belongs to user {_name(owner)}, and this is {_name(me)}; "
                    "run as that user or as root, or choose another data directory"
                )
            return None
        with suppress(KeyError):
            # A directory that a normal user made stays usable for that user. initdb needs a name.
            entry = pwd.getpwuid(owner) if owner else pwd.getpwnam(UNPRIVILEGED)
            return Account(entry.pw_uid, entry.pw_gid, entry.pw_name)
        raise ClusterError(
            f"PostgreSQL does not run as root, and this machine has no user "
            f"{owner or UNPRIVILEGED} to run it as; expected one in /etc/passwd"
        )

    def _acquire(self) -> None:
        lock = self.touch("lock", os.O_RDWR)
        deadline = time.monotonic() + LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                owner = os.pread(lock, 20, 0).decode(errors="replace").strip()
                if time.monotonic() > deadline or os.path.exists(f"/proc/{owner or 'self'}"):
                    os.close(lock)
                    raise ClusterError(
                        f"the cluster in {self.path} is in use by process {owner or 'unknown'}; "
                        "stop that one first, or choose another data directory"
                    ) from None
            time.sleep(0.05)  # no event tells of it, and a flock that waits has no bound
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        self._lock = lock

    def _mark(self) -> None:
        part = f"{MARKER}.part"
        with open(self.touch(part, os.O_WRONLY | os.O_TRUNC), "w") as file:
            json.dump({"format": FORMAT}, file)
            file.flush()
            os.fsync(file.fileno())
        (self.path / part).replace(self.path / MARKER)
        self.sync()

    def _shorten(self) -> None:
        """Find a path of the directory whose sockets fit into a socket address.

        The servers themselves say /proc/self/cwd, which always fits. Clients of a long path get a
        link in the temporary directory, where only we can change it (sticky bit). asyncpg splits
        hosts at commas, so a path with a comma gets one as well.
        """
        self._short = self.path
        if _fits(self.path):
            return
        digest = hashlib.sha256(os.fsencode(self.path.resolve())).hexdigest()[:12]
        alias = Path(tempfile.gettempdir()) / f"verifier-{os.geteuid()}-{digest}"
        if not _fits(alias):
            raise ClusterError(
                f"{self.path} and the temporary directory {alias.parent} are too long for Unix "
                f"sockets (at most {SOCKET_PATH_MAX} bytes); choose a shorter data directory"
            )
        with suppress(FileNotFoundError):
            status = alias.lstat()
            if not stat.S_ISLNK(status.st_mode) or status.st_uid != os.geteuid():
                raise ClusterError(f"{alias} should be our link to {self.path}; remove it")
            alias.unlink()
        alias.symlink_to(self.path)
        self._short = self._alias = alias


def _fits(path: Path) -> bool:
    longest = path / "replica-99" / ".s.PGSQL.65535"
    return "," not in str(path) and len(os.fsencode(longest)) <= SOCKET_PATH_MAX


def _name(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:
        return str(uid)
