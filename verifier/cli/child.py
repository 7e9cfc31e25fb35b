"""A worker process, as its supervisor has it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from verifier import lifeline

READY = b"ready\n"

# Has a worker end before it serves when it cannot read the ledger: the one in its place can.
SUCCESSOR = "--successor"
# To a worker whose successor accepts on the same socket: accept nothing more, finish, and end.
REPLACED = signal.SIGUSR1


class Child:
    """One worker process, and its two pieces of news: it is ready, it has ended.

    The process is called with ``--listen-fd FD``, the socket that it is to listen on;
    ``--ready-fd FD``, where it writes READY once it serves; ``--numbers-fd FD``, its channel to the
    Gatherer; and ``--parent PID``, with whose death it must die. Raises OSError when it cannot be
    started.
    """

    def __init__(
        self,
        slot: int,
        command: Sequence[str],
        environ: Mapping[str, str],
        listening: socket.socket,
        numbers: socket.socket,
        drain: float,
    ) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self.slot = slot
        self.environ = environ
        # Seconds that it may take to end once it was told.
        self.drain = drain
        self.born = loop.time()
        # Done once it was told that a successor accepts in its place.
        self.replaced: asyncio.Future[None] = loop.create_future()
        # Cancelled when it ends before.
        self.ready: asyncio.Future[None] = loop.create_future()
        self.exited: asyncio.Future[int] = loop.create_future()
        # A successor gets it too, so that nothing is lost of what waits there to be accepted.
        self._listening = listening
        with ExitStack() as undo:
            undo.enter_context(listening)
            self._news, theirs = os.pipe()
            undo.callback(os.close, self._news)
            passed = {
                "--listen-fd": listening.fileno(),
                "--ready-fd": theirs,
                "--numbers-fd": numbers.fileno(),
            }
            try:
                self._process = subprocess.Popen(
                    [
                        *command,
                        *(text for name, fd in passed.items() for text in (name, str(fd))),
                        *("--parent", str(os.getpid())),
                    ],
                    pass_fds=tuple(passed.values()),
                    env=environ,
                    stdin=subprocess.DEVNULL,
                    # Ours carries one line, for whoever waits for it.
                    stdout=2,
                    # A Ctrl-C in the terminal reaches us alone; workers are told in their turn.
                    process_group=0,
                )
            finally:
                os.close(theirs)
            undo.callback(self._process.wait)
            undo.callback(self._process.kill)
            self.pid = self._process.pid
            exit_ = lifeline.ended(self.pid)
            undo.pop_all()
        loop.add_reader(self._news, self._read_news)
        exit_.add_done_callback(self._read_exit)

    def _read_news(self) -> None:
        if os.read(self._news, len(READY)) == READY:
            self.ready.set_result(None)
        self._close_news()

    def _close_news(self) -> None:
        if self._news >= 0:
            self._loop.remove_reader(self._news)
            os.close(self._news)
            self._news = -1

    def _read_exit(self, _: asyncio.Future[None]) -> None:
        self._close_news()
        self._listening.close()
        self.ready.cancel()
        self.exited.set_result(self._process.wait())

    def age(self) -> float:
        """Seconds since the start."""
        return self._loop.time() - self.born

    def runs(self) -> bool:
        """Whether it has not ended."""
        return not self.exited.done()

    def is_replaced(self) -> bool:
        """Whether it was told that a successor accepts in its place."""
        return self.replaced.done()

    def is_ready(self) -> bool:
        """Whether it serves, or has served."""
        return self.ready.done() and not self.ready.cancelled()

    def listening(self) -> socket.socket:
        """The socket that it listens on once more, for a successor. OSError when it has ended."""
        return self._listening.dup()

    def replace(self) -> None:
        """Tell it that a successor accepts in its place."""
        self.send(REPLACED)
        # What comes now is for its successor alone, even if that should end first.
        self._listening.close()
        self.replaced.set_result(None)

    def send(self, signum: int) -> None:
        """Signal the process, if it still runs."""
        self._process.send_signal(signum)


def how_ended(code: int) -> str:
    """In which way a process with this exit code ended."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
