"""Many questions, decoded in turns: none of them keeps other work waiting, whatever it holds.

What is small and plain is decoded at once (questions.py). A large batch is decoded in pieces. What
is not plain is decoded item by item, once it is known where each ends (extents.py): an item that
cannot be read (too long, nested too deeply, half a surrogate, bytes that are no UTF-8) is
malformed, and the others are answered.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NoReturn

import msgspec

from verifier.errors import BadRequest
from verifier.invoice.claim import Item
from verifier.pacing import Pace, Turns
from verifier.wire import questions
from verifier.wire.extents import Extents, NotJsonError
from verifier.wire.strict import NOT_AN_OBJECT, UNREADABLE

# Bytes; decoding so many at once takes 0.4 ms.
_AT_ONCE = 1 << 17


async def read_lines(block: bytes, turns: Turns) -> Sequence[Item]:
    """The questions of whole lines (NDJSON), one for each line that is not blank.

    A line that is no JSON object comes out Invalid.
    """
    pace = Pace(turns)
    items: list[Item] = []
    at = 0
    while at < len(block):
        end = _end_of_lines(block, at)
        piece = block[at:end]
        if (plain := questions.decode_lines(piece)) is not None:
            items += plain
            await pace.give_way()
        else:
            for line in piece.split(b"\n"):
                if line.strip():
                    items.append(questions.decode_one(line))
                await pace.give_way()
        at = end + 1
    return items


def _end_of_lines(block: bytes, at: int) -> int:
    """The end of as many of the next lines as are decoded at once, or of one that is longer."""
    if len(block) - at <= _AT_ONCE:
        return len(block)
    end = block.rfind(b"\n", at, at + _AT_ONCE)
    if end < 0:
        end = block.find(b"\n", at + _AT_ONCE)
    return end if end >= 0 else len(block)


async def read_batch(body: bytes, max_items: int, max_item: int, turns: Turns) -> Sequence[Item]:
    """The questions of a batch; BadRequest when the body as a whole is not one.

    An item that cannot be read comes out Invalid, and so does one of more than ``max_item`` bytes,
    which is not looked into.
    """
    if len(body) <= _AT_ONCE and (plain := questions.decode_batch(body, max_items)) is not None:
        return plain
    return await read_in_turns(body, max_items, max_item, turns)


async def read_in_turns(body: bytes, max_items: int, max_item: int, turns: Turns) -> Sequence[Item]:
    """The same for a body that is large or not plain."""
    try:
        return await _Reader(body, max_items, max_item, turns).read()
    except NotJsonError:
        _refuse(body)


class _Reader:
    """Reads one batch."""

    def __init__(self, body: bytes, max_items: int, max_item: int, turns: Turns) -> None:
        self._body = body
        self._max_items = max_items
        self._max_item = max_item
        self._pace = Pace(turns)
        self._extents = Extents(body, self._pace)
        self._items: list[Item] = []

    async def read(self) -> list[Item]:
        """All items, in their order."""
        at = await self._first()
        # A small body was tried as a whole.
        try_from = at if len(self._body) > _AT_ONCE else len(self._body)
        while True:
            if at >= try_from:
                plain, try_from = self._piece(at)
                if plain is not None:
                    self._take(plain)
                    at = try_from
                    if at == len(self._body):
                        return self._items
                    await self._pace.give_way()
                    continue
            end, following = await self._extents.item(at)
            self._take((self._item(at, end),))
            await self._pace.give_way()
            if self._extents.mark(end) == b"]":
                await self._last(end)
                return self._items
            at = following

    async def _first(self) -> int:
        """Where the first item begins."""
        extents = self._extents
        start = await extents.past(await extents.past(0, b"{"), b'"')
        end = await extents.string(start)
        try:
            name = msgspec.json.decode(self._body[start - 1 : end])
        except UNREADABLE:
            raise NotJsonError from None
        if name != "invoices":
            raise NotJsonError
        first = await extents.space(await extents.past(await extents.past(end, b":"), b"["))
        if extents.mark(first) == b"]":
            await self._last(first)
            questions.check_count(0, self._max_items)
        return first

    async def _last(self, at: int) -> None:
        """Nothing may follow the list of items but the end of the object."""
        extents = self._extents
        end = await extents.space(await extents.past(await extents.past(at, b"]"), b"}"))
        if end < len(self._body):
            raise NotJsonError

    def _piece(self, at: int) -> tuple[Sequence[Item] | None, int]:
        """The items up to the next seam, None where they are not plain, and where to go on.

        What looks like a seam is one if the text before it is a list of items: JSON can be read in
        one way only.
        """
        body = self._body
        if len(body) - at <= _AT_ONCE:
            return questions.decode_batch(b'{"invoices":[' + body[at:], self._max_items), len(body)
        seam = self._extents.seam(at)
        if seam is None:
            return None, at + _AT_ONCE
        end, following = seam
        return questions.decode_batch(
            b'{"invoices":[%b]}' % body[at:end], self._max_items
        ), following

    def _take(self, items: Sequence[Item]) -> None:
        self._items += items
        questions.check_count(len(self._items), self._max_items)

    def _item(self, at: int, end: int) -> Item:
        if end - at > self._max_item:
            return questions.too_long(self._max_item)
        text = self._body[at:end]
        try:
            return questions.decode_question(text)
        except BadRequest as error:
            if _is_json(text):
                return NOT_AN_OBJECT
            if len(self._body) <= _AT_ONCE:
                # The whole is small enough to be told where in it the fault is.
                raise NotJsonError from None
            place = f"invoices[{len(self._items)}]"
            said = error.detail if text.strip() else "expected an item"
            raise BadRequest(error.code, f"{place}: {said}") from None


def _is_json(text: bytes) -> bool:
    """Whether text that could not be decoded is JSON all the same.

    It may be nested too deeply to be read, or hold what is no Unicode text.
    """
    try:
        json.loads(text.decode(errors="replace"), parse_int=float, parse_constant=_no_constant)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


class _Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    invoices: list[msgspec.Raw]


def _refuse(body: bytes) -> NoReturn:
    """Raise BadRequest for a body that is no batch, and say why, if that is found at once."""
    if len(body) <= _AT_ONCE:
        try:
            msgspec.json.decode(body, type=_Envelope)
        except msgspec.ValidationError as error:
            raise BadRequest("malformed_batch", str(error)) from error
        except UNREADABLE as error:
            raise BadRequest("malformed_json", str(error)) from error
    raise BadRequest("malformed_batch", 'expected {"invoices": [ … ]}, with "invoices" once')
