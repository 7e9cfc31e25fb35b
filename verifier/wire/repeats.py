"""Whether any of many questions gives a name twice or holds NUL, without a look at each of them.

Each member has one colon. So when questions decode to as many members as their text has colons,
none of them gives a name twice (strict.py does the same for one object). Their members are counted
by the references to None, which stands for each absent one: what decoding adds to that count is
exact, as long as nothing else runs meanwhile.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from operator import call
from sys import getrefcount
from typing import Any, TypeVar

import msgspec
from msgspec.structs import astuple

from verifier.invoice.claim import Question
from verifier.wire.strict import colons_stand

A = TypeVar("A")
T = TypeVar("T")

_MEMBERS = len(Question.__struct_fields__)
# As a number, for which a search of bytes is fastest.
_BACKSLASH = ord("\\")


def is_plain(text: bytes, question: Question) -> bool:
    """Whether the text of a decoded question surely gives no name twice and has no NUL."""
    return text.count(b":") == _MEMBERS - astuple(question).count(None) and (
        _BACKSLASH not in text or b"\\u0000" not in text
    )


def counted(decode: Callable[[A], T], text: A) -> tuple[T, int]:
    """What ``decode`` returns, and how many other references to None it has made.

    ``decode`` is a function in C that calls nothing of ours.
    """
    collects = gc.isenabled()
    # A collection could free what refers to None.
    gc.disable()
    try:
        # One instruction of the interpreter makes all three calls, so that no other thread and no
        # signal handler comes in between.
        calls: tuple[Any, ...] = getrefcount, decode, getrefcount
        before, decoded, after = map(call, calls, (None, text, None))
    finally:
        if collects:
            gc.enable()
    return decoded, after - before - (decoded is None)


# False from Python 3.12 on, where references to None are not counted.
_COUNTED = counted(msgspec.json.Decoder(Question).decode, b"{}")[1] == _MEMBERS


def all_are_plain(
    text: bytes,
    questions: Sequence[Question],
    references: int,
    names: Callable[[], int],
    around: int = 0,
) -> bool:
    """The same for many questions in one text.

    ``references`` comes from ``counted``; ``around`` is how many members enclose the questions.
    ``names`` counts the different names of each question, which takes as long again as decoding;
    it is called only where a member may be null.
    """
    lacking = references
    if not _COUNTED:
        lacking = sum([astuple(each).count(None) for each in questions])
    members = _MEMBERS * len(questions) - lacking
    colons = text.count(b":") - around
    if _BACKSLASH in text and b"\\u0000" in text:
        return False
    if colons == members:
        return True
    if colons_stand(text):
        free = [value for each in questions for value in (each.reference, each.qr) if value]
        colons -= sum([value.count(":") for value in free])
        if colons == members:
            return True
    return b"null" in text and colons == names()
