"""Where things end in JSON text, found without decoding it, in turns.

A decoder takes a text as a whole and without a pause, or not at all. To pass over an item that is
too long or nested too deeply, only its brackets and strings are looked at: some 10 ns a byte, and
60 where there is nothing but brackets.
"""

from __future__ import annotations

import re
from itertools import accumulate

from verifier.pacing import Pace

# Bytes that one search covers, and those of one that looks at each bracket.
_FAR = 1 << 16
_NEAR = 1 << 12

# Items that are nested more deeply are found bracket by bracket.
_LEVELS = 6

_SPACE = rb"[ \t\n\r]*+"
_SCALAR = rb'[^"\[\]{},\s]++'
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'


def _pattern(*parts: bytes) -> re.Pattern[bytes]:
    return re.compile(b"".join(parts), re.DOTALL)


def _nested(levels: int) -> bytes:
    """The pattern of a value in brackets that is nested up to so many levels."""
    deeper = b"|" + _nested(levels - 1) if levels > 1 else b""
    return rb'[\[{](?:[^"\[\]{}]++|' + _STRING + deeper + rb")*+[\]}]"


# An item, the mark behind it, and white space up to the next one.
_ITEM = _pattern(
    rb"(?:", _nested(_LEVELS), rb"|", _STRING, rb"|", _SCALAR, rb")",
    _SPACE, rb"(?P<mark>[,\]])", _SPACE,
)  # fmt: skip
_WHITE = _pattern(_SPACE)
_PERHAPS_SCALAR = _pattern(rb"(?:", _SCALAR, rb")?")
# Where one item may end and another one begin.
_SEAM = _pattern(rb"\}", _SPACE, rb",", _SPACE, rb"\{")
# Anything in which each string is whole.
_WHOLE = _pattern(rb'(?:[^"]++|', _STRING, rb")*+")
_ANY_STRING = _pattern(_STRING)
# What is within a string, up to its end or the middle of an escape.
_TEXT = _pattern(rb'[^"\\]*+(?:\\.[^"\\]*+)*+')
# How much deeper each byte leads.
_DEEPER = [(byte in b"[{") - (byte in b"]}") for byte in range(256)]


def _blank(string: re.Match[bytes]) -> bytes:
    return b" " * len(string[0])


class NotJsonError(ValueError):
    """The text is no JSON, or no list of items is where one should be."""


class Extents:
    """Where things end in one text. All methods take and return places in it."""

    def __init__(self, text: bytes, pace: Pace) -> None:
        self._text = text
        self._pace = pace

    def mark(self, at: int) -> bytes:
        """The byte at a place, empty at the end."""
        return self._text[at : at + 1]

    async def space(self, at: int) -> int:
        """The next place that is no white space."""
        while (end := self._after(_WHITE, at)) == at + _FAR:
            at = end
            await self._pace.give_way()
        return end

    async def past(self, at: int, mark: bytes) -> int:
        """The place behind a mark; NotJsonError when another byte comes first."""
        at = await self.space(at)
        if self.mark(at) != mark:
            raise NotJsonError
        return at + 1

    def seam(self, at: int) -> tuple[int, int] | None:
        """Where an item may end, some way on, and where the next one would begin; or None."""
        found = _SEAM.search(self._text, at + _FAR, at + 2 * _FAR)
        return (found.start() + 1, found.end() - 1) if found else None

    async def item(self, at: int) -> tuple[int, int]:
        """The comma or bracket behind an item, and where the next one begins, if there is one."""
        found = _ITEM.match(self._text, at, at + _FAR)
        if found:
            return found.start("mark"), found.end()
        mark = self.mark(at)
        if mark in (b"[", b"{"):
            at = await self._closed(at)
        elif mark == b'"':
            at = await self.string(at + 1)
        else:
            while (end := self._after(_PERHAPS_SCALAR, at)) > at:
                at = end
                await self._pace.give_way()
        at = await self.space(at)
        if self.mark(at) not in (b",", b"]"):
            raise NotJsonError
        return at, await self.space(at + 1)

    async def string(self, at: int) -> int:
        """The place behind the closing quote of the string that a place is in."""
        while mark := self.mark(at):
            if mark == b'"':
                return at + 1
            end = self._after(_TEXT, at)
            # A backslash at the end of what was searched goes with the byte behind it.
            at = end if end > at else at + 2
            await self._pace.give_way()
        raise NotJsonError

    async def _closed(self, at: int) -> int:
        """The place behind the bracket that closes the one at a place."""
        depth, size = 0, _NEAR >> 2
        while True:
            found = _WHOLE.match(self._text, at, at + size)
            assert found is not None
            # Strings may hold brackets, and count for none.
            plain = _ANY_STRING.sub(_blank, found[0])
            opening = plain.count(b"[") + plain.count(b"{")
            closing = plain.count(b"]") + plain.count(b"}")
            if depth and closing < depth:
                depth += opening - closing
            else:
                depths = [*accumulate(map(_DEEPER.__getitem__, plain), initial=depth)]
                if 0 in depths[1:]:
                    return at + depths.index(0, 1)
                depth = depths[-1]
            at = found.end()
            if self.mark(at) == b'"':
                # A string that goes on behind what was searched.
                at = await self.string(at + 1)
            elif not self.mark(at):
                raise NotJsonError
            await self._pace.give_way()
            # Twice as much each time, so that not much is searched in vain.
            size = min(2 * size, _NEAR)

    def _after(self, pattern: re.Pattern[bytes], at: int) -> int:
        """Where a pattern that matches in any case ends."""
        found = pattern.match(self._text, at, at + _FAR)
        assert found is not None
        return found.end()
