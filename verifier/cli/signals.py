"""What signals do: Ctrl-C, SIGTERM and a closed terminal stop, twice hurry; SIGHUP may reload."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

_STOPPING = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):
    """Work was given up because the process was asked to stop; ``signum`` says by which signal."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class Stop:
    """Whether the process was asked to stop (``asked``), and asked again (``hurry``).

    ``reload`` is set when it is to go on with new settings; whoever heeds it clears it.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurry = asyncio.Event()
        self.reload = asyncio.Event()
        self.signum = 0

    def ask(self, signum: int) -> None:
        """Note a signal."""
        if self.asked.is_set():
            self.hurry.set()
        self.signum = self.signum or signum
        self.asked.set()

    async def unless(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``; if the stop comes first, ``work`` is cancelled: Stopped."""
        task = asyncio.ensure_future(work)
        waiter = asyncio.ensure_future(self.asked.wait())
        try:
            await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiter.cancel()
            finished = task.done()
            task.cancel()
            await asyncio.wait({task, waiter})
        if not finished and (task.cancelled() or task.exception() is None):
            raise Stopped(self.signum)
        return task.result()


@contextmanager
def catching(*, reloads: bool = False) -> Iterator[Stop]:
    """A Stop that this process's signals set, while the running loop turns.

    SIGHUP stops; where ``reloads`` it asks for that instead, unless the terminal is closed.
    """
    loop, stop = asyncio.get_running_loop(), Stop()
    # nohup ignores SIGHUP for its child, which then must outlive the terminal.
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    had_terminal = _has_terminal()

    def hang_up() -> None:
        if reloads and _has_terminal() == had_terminal:
            stop.reload.set()
        elif not ignored:
            stop.ask(signal.SIGHUP)

    caught = [each for each in _STOPPING if signal.getsignal(each) is not signal.SIG_IGN]
    for each in caught:
        loop.add_signal_handler(each, stop.ask, each)
    if reloads or not ignored:
        caught.append(signal.SIGHUP)
        loop.add_signal_handler(signal.SIGHUP, hang_up)
    try:
        yield stop
    finally:
        for each in caught:
            loop.remove_signal_handler(each)
        if ignored:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _has_terminal() -> bool:
    """Whether the process has a controlling terminal that is open."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
