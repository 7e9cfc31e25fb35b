"""The places that an exception passed: shown without values, or dropped.

What an exception says, and the variables of those places, may hold what a caller sent.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from types import TracebackType

# A log line holds so many places of a traceback, the innermost ones.
FRAMES = 25


def frames(error: BaseException) -> list[str]:
    """The places that an error and its causes passed, the innermost last, without values."""
    places: list[str] = []
    behind: BaseException | None = error
    seen: set[int] = set()
    while behind is not None and id(behind) not in seen:
        seen.add(id(behind))
        passed = [*_places(behind.__traceback__), type(behind).__qualname__]
        places = passed[-FRAMES:] + places
        behind = behind.__cause__ or behind.__context__
    return places[-FRAMES:]


def drop_frames(error: BaseException) -> None:
    """Drop the traceback of an exception that is handled but will be kept.

    aiohttp keeps errors with a request's body, and tasks keep theirs. Through their frames they
    would keep the request and the task alive until the garbage collector finds the cycle.
    """
    error.__traceback__ = None


def _places(passed: TracebackType | None) -> Iterator[str]:
    for frame, line in traceback.walk_tb(passed):
        yield f"{frame.f_code.co_filename}:{line} {frame.f_code.co_qualname}"
