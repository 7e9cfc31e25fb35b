"""The places that an exception passed: told without any value, or let go of.

What an exception says, and the variables of those places, may hold what a caller sent.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from types import TracebackType

# The places of a traceback that a log line holds, the innermost ones.
FRAMES = 25


def frames(error: BaseException) -> list[str]:
    """Where an error and those behind it passed, the innermost place last; no values."""
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
    """Let go of the places that an exception passed, for one that is handled but kept.

    aiohttp keeps errors with a request's body, and tasks keep theirs. Their frames keep the request
    and the task in turn, with all that these hold, until the garbage is collected.
    """
    error.__traceback__ = None


def _places(passed: TracebackType | None) -> Iterator[str]:
    for frame, line in traceback.walk_tb(passed):
        yield f"{frame.f_code.co_filename}:{line} {frame.f_code.co_qualname}"
