"""What is used of gevent and of Locust's events, with the types that neither has."""

from __future__ import annotations

from collections.abc import Callable
from signal import Signals
from time import monotonic
from typing import Any, NoReturn, TypeVar

import gevent  # type: ignore[import-untyped]
from locust.event import EventHook

A = TypeVar("A")
T = TypeVar("T")

_POLL = 0.01

# What ends a wait that a client has bounded.
Timeout: type[BaseException] = gevent.Timeout


def sleep(seconds: float) -> None:
    """Let others go on for so long; 0 is one turn."""
    gevent.sleep(seconds)


def wait(ended: Callable[[], bool], patience: float) -> bool:
    """Let others go on until something has ended; whether it has within so many seconds."""
    until = monotonic() + patience
    while not ended():
        if monotonic() >= until:
            return False
        gevent.sleep(_POLL)
    return True


def in_thread(call: Callable[[A], T], argument: A) -> T:
    """Call in a thread of its own, beside which others go on; what it raises is raised here."""
    found: T = gevent.get_hub().threadpool.apply(call, (argument,))
    return found


def interrupt_at(*signals: Signals) -> None:
    """Have a signal raise KeyboardInterrupt in the main greenlet.

    Python raises it in whichever runs just then, and the one that prints statistics swallows it.
    """
    for each in signals:
        gevent.signal_handler(each, _interrupt)


def _interrupt() -> NoReturn:
    # gevent carries it from a signal's greenlet over to the main one.
    raise KeyboardInterrupt


def listen(event: EventHook, listener: Callable[..., Any]) -> None:
    """Have a listener called at an event, with arguments by name."""
    event.add_listener(listener)  # type: ignore[no-untyped-call]
